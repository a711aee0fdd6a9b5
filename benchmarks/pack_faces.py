"""Pack a built data set for `train_gpu.py`: the faces and targets of each split, as NumPy arrays.

    PYTHONPATH=. python benchmarks/pack_faces.py fer2013 --out faces.npz --parts 2

`--parts 2` writes faces-1.npz and faces-2.npz, each of half the faces of every split: for places
that take no large files. `train_gpu.py` is given all of them.
"""

import argparse
from pathlib import Path

import numpy as np

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import parse_dataset, role_splits


def pack(dataset, protocol, fold, size, data_dir):
    """The arrays of a data set, by name.

    Returns:
        dict: for each split (train, validation, test) `<split>_images` (count, size, size, 1)
        uint8 grey levels, rounded where a face had to be resized, `<split>_targets`
        (count, classes) float32, the shares of the taggers' votes or the label, and
        `<split>_labels` (count,) uint8; and, of no split, `voted` bool, whether the targets are
        votes, `classes` the labels' names, `dataset`, `protocol` and `fold` (-1 for none).
    """
    builder = open_dataset(dataset, protocol, data_dir)
    features = builder.info.features
    arrays = {
        "voted": np.array("votes" in features),
        "classes": np.array(features["label"].names),
        "dataset": np.array(dataset),
        "protocol": np.array(protocol),
        "fold": np.array(-1 if fold is None else fold),
    }
    splits = role_splits(parse_dataset(dataset)[0], protocol, fold)
    for role in ("train", "validation", "test"):
        faces = load_split(builder, splits[role], size, soft_labels=True)
        arrays[f"{role}_images"] = np.round(faces.images).astype(np.uint8)
        arrays[f"{role}_targets"] = faces.targets
        arrays[f"{role}_labels"] = faces.labels.astype(np.uint8)
    return arrays


def write(arrays, out, parts):
    """Write arrays to `out`, or to that many files beside it; their paths."""
    paths = [out] if parts == 1 else [out.with_stem(f"{out.stem}-{i + 1}") for i in range(parts)]
    for i, path in enumerate(paths):
        np.savez_compressed(
            path,
            part=np.array([i, parts]),
            **{
                name: np.array_split(value, parts)[i] if "_" in name else value
                for name, value in arrays.items()
            },
        )
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", help="name or name/variant, built")
    parser.add_argument("--protocol", default=TrainConfig.protocol)
    parser.add_argument("--fold", type=int, help="with --protocol subjects")
    parser.add_argument("--size", type=int, default=TrainConfig.image_size, help="pixels")
    parser.add_argument("--out", type=Path, required=True, help="an .npz file")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--data-dir", help="where built data sets are kept")
    args = parser.parse_args()
    arrays = pack(args.dataset, args.protocol, args.fold, args.size, args.data_dir)
    for path in write(arrays, args.out, args.parts):
        print(f"wrote {path}, {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
