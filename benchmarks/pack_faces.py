"""Pack a built data set for `train_gpu.py`: the faces and targets of each split, as NumPy arrays.

    PYTHONPATH=. python benchmarks/pack_faces.py fer2013 --out faces.npz --parts 2

`--parts 2` writes faces-1.npz and faces-2.npz, each with half the faces of every split, where large
files cannot be copied. `train_gpu.py` takes all of them.
"""

import argparse
from pathlib import Path

import numpy as np

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split
from keras_deep_emotion.data.reading import class_names, open_dataset
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.data.task import Task


def pack(task: Task, size: int, data_dir: str | Path | None) -> dict[str, np.ndarray]:
    """Read the arrays of a data set, by name.

    Each split has <split>_images (count, size, size, 1) uint8, rounded if a face had to be resized,
    <split>_targets (count, classes) float32, of votes or labels, and <split>_labels (count,) uint8.
    """
    builder = open_dataset(task, data_dir)
    arrays = {
        "voted": "votes" in builder.info.features,  # whether the targets are votes
        "classes": class_names(builder),
        "dataset": task.dataset,
        "protocol": task.protocol,
        "fold": -1 if task.fold is None else task.fold,
    }
    arrays = {name: np.array(value) for name, value in arrays.items()}
    for role, split in task.splits.items():
        faces = load_split(builder, split, size, soft_labels=True)
        columns = np.round(faces.images).astype(np.uint8), faces.targets, np.uint8(faces.labels)
        for kind, column in zip(FaceArrays._fields, columns, strict=True):
            arrays[f"{role}_{kind}"] = column
    return arrays


def write(arrays: dict[str, np.ndarray], out: Path, parts: int) -> list[Path]:
    """Write arrays to `out`, or to that many files beside it; return their paths."""
    paths = [out] if parts == 1 else [out.with_stem(f"{out.stem}-{i + 1}") for i in range(parts)]
    for i, path in enumerate(paths):
        shares = {
            name: np.array_split(value, parts)[i] if "_" in name else value
            for name, value in arrays.items()
        }
        np.savez_compressed(path, part=np.array([i, parts]), **shares)
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
    task = Task.parse(args.dataset, args.protocol, args.fold)
    arrays = pack(task, args.size, args.data_dir)
    for path in write(arrays, args.out, args.parts):
        print(f"wrote {path}, {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
