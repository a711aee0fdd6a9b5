"""Measure how faithful a run's saliency maps are on its images, and where they lie."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_deep_emotion.data.reading import class_names, open_dataset, read_examples
from keras_deep_emotion.files import atomic_write, write_json
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.explain import explain_faces
from keras_deep_emotion.saliency.faithfulness import (
    bootstrap_mean,
    mean_maps,
    rank_correlation,
    score_faithfulness,
    shuffle_weights,
)
from keras_deep_emotion.saliency.networks import Network
from keras_deep_emotion.saliency.windows import (
    DEFAULT_WINDOWS,
    Windows,
    fill_by_windows,
    window_starts,
)

PARTS = ("mouth", "eyes", "brows")  # boxes of toon_faces
RANDOMIZED = 48  # images whose maps are compared with those of randomized weights
RANDOMIZATIONS = (("last layer", 0.0), ("upper half", 0.5), ("all layers", 1.0))


def benchmark_saliency(
    run: Run,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    faces: int = 200,
    seed: int = 0,
    windows: Windows = DEFAULT_WINDOWS,
    split: str = "test",
) -> dict[str, Any]:
    """Score the saliency maps of a run; write faithfulness.json and mean_saliency.npz.

    `faces` images are evenly spaced over the split, "train", "validation" or "test"; `output` is
    the folder of the files, None for the run's own; `seed` is that of the random baselines and
    randomized weights.

    Returns the contents of faithfulness.json: `faces`, `dataset`, `split`, `window`, `stride`,
    `filling`; `scores` of the predicted class, see `faithfulness.score_faithfulness`;
    `randomisation`, the rank correlation (`mean`, `interval`) with the maps of a model of which a
    share of the layers has shuffled weights: maps that do not change show the image, not the model;
    and `regions`, where the maps of each predicted class lie, see `faithfulness.mean_maps`.

    Raises:
        ValueError: If windows do not fit the images, or there are fewer than two images.
    """
    task, size = run.task, run.config.image_size
    window_starts(size, *windows[:2])  # checked before data are read
    builder, split = open_dataset(task, data_dir), task.splits[split]
    run.check_labels(class_names(builder))
    examples = evenly_spaced_examples(builder, split, size, faces)
    images = np.stack([example["image"].numpy() for example in examples])
    model = Network.from_run(run)
    explanation = explain_faces(model, images, None, windows)
    parts = None
    if all(part in builder.info.features for part in PARTS):
        parts = np.stack([part_boxes(example) for example in examples])
    blurred = fill_by_windows(images, windows._replace(filling="blur"))
    maps = explanation.saliency, explanation.class_id
    scores = score_faithfulness(
        model.predict_prepared, images, blurred, *maps, windows.window, parts, seed
    )
    regions = mean_maps(explanation.saliency, explanation.class_id, model.labels)
    folder = Run(output or run)
    folder.path.mkdir(parents=True, exist_ok=True)
    predicted = np.array(model.labels)[explanation.class_id]
    with atomic_write(folder / Run.MEAN_MAPS) as temporary:
        np.savez_compressed(
            temporary,
            classes=list(regions),
            maps=[region.pop("map") for region in regions.values()],
            faces=[images[predicted == name, ..., 0].mean(axis=0) for name in regions],
        )
    result = {
        "dataset": builder.info.full_name,
        "split": split,
        "faces": len(images),
        **windows._asdict(),
        "scores": scores,
        "randomisation": randomization_test(model, images, explanation, seed, windows),
        "regions": regions,
    }
    write_json(folder / Run.FAITHFULNESS, result)
    return result


def evenly_spaced_examples(builder, split: str, size: int, count: int) -> list[dict]:
    """Examples evenly spaced over a split; raise ValueError if fewer than two."""
    examples = list(read_examples(builder, split, size))
    if min(count, len(examples)) < 2:
        raise ValueError(f"Scores need 2 faces or more. Received: {min(count, len(examples))}")
    places = np.linspace(0, len(examples) - 1, count).astype(int)
    return [examples[i] for i in np.unique(places)]


def part_boxes(example: dict) -> np.ndarray:
    """Boxes of mouth, eyes and brows relative to the cropped face: (3, 4)."""
    face = example["face"].numpy()
    parts = np.stack([example[part].numpy() for part in PARTS])
    corner, side = face[:2], face[2:] - face[:2]
    return (parts - np.tile(corner, 2)) / np.tile(side, 2)


def randomization_test(model, images, explanation, seed, windows) -> dict[str, dict]:
    """Rank correlation of maps with those of models with shuffled weights (Adebayo et al., 2018).

    Returns `bootstrap_mean` over at most `RANDOMIZED` images for each of `RANDOMIZATIONS`.
    """
    images, class_id = images[:RANDOMIZED], explanation.class_id[:RANDOMIZED]
    result = {}
    for name, share in RANDOMIZATIONS:
        randomized = randomize_layers(model, share, seed)
        maps = explain_faces(randomized, images, class_id, windows).saliency
        result[name] = bootstrap_mean(rank_correlation(explanation.saliency[: len(images)], maps))
    return result


def randomize_layers(model: Network, share: float, seed: int) -> Network:
    """A copy of a model in which a share of the layers, at least the last, has shuffled weights."""
    copy = keras.models.clone_model(model.model)
    copy.set_weights(model.model.get_weights())
    layers = [layer for layer in copy.layers if layer.weights]
    for layer in layers[-max(1, round(share * len(layers))) :]:
        layer.set_weights(shuffle_weights(layer.get_weights(), seed))
    return Network(copy, model.labels)
