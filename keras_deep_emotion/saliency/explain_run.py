"""Explain faces of the data set that a run was trained on."""

from pathlib import Path

import numpy as np

from keras_deep_emotion.data.reading import class_names, open_dataset, read_examples
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.explain import save_explanation
from keras_deep_emotion.saliency.networks import Network
from keras_deep_emotion.saliency.windows import DEFAULT_WINDOWS, Windows, window_starts

MISTAKES = 6


def explain_split(
    run: Run,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    split: str = "test",
    per_class: int = 1,
    windows: Windows = DEFAULT_WINDOWS,
) -> Path:
    """Explain `per_class` images of each class of a run's split; return the path of saliency.npz.

    The explained class is the true one. `split` is "train", "validation" or "test", of which the
    first images are taken; `output` is the folder of the file, None for the run's own.

    Raises:
        ValueError: If windows do not fit the images, `per_class` is below 1, or the split is empty.
    """
    task, size = run.task, run.config.image_size
    window_starts(size, *windows[:2])  # checked before data are read
    builder = open_dataset(task, data_dir)
    run.check_labels(class_names(builder))
    examples = first_per_class(builder, task.splits[split], size, per_class)
    labels = [int(example["label"]) for example in examples]
    names = [example["name"].numpy().decode() for example in examples]
    images = np.stack([example["image"].numpy() for example in examples])
    path, model = Run(output or run) / Run.SALIENCY_MAPS, Network.from_run(run)
    return save_explanation(path, model, images, names, labels, labels, windows)


def first_per_class(builder, split: str, size: int, per_class: int) -> list[dict]:
    """The first `per_class` examples of each class of a split, or as many as it has."""
    if per_class < 1:
        raise ValueError(f"--per-class must be 1 or more. Received: {per_class}")
    classes = builder.info.features["label"].num_classes
    groups: dict[int, list] = {label: [] for label in range(classes)}
    for example in read_examples(builder, split, size):
        group = groups[int(example["label"])]
        if len(group) < per_class:
            group.append(example)
        if all(len(group) == per_class for group in groups.values()):
            break
    if not any(groups.values()):
        raise ValueError(f"Split {split} holds no faces.")
    return [example for group in groups.values() for example in group]


def explain_mistakes(run: Run, data_dir: str | Path | None = None) -> Path | None:
    """Explain the most confident mistakes of an evaluated run; write mistakes.npz if any."""
    mistakes = run.report["surest_mistakes"][:MISTAKES]
    if not mistakes:
        return None
    builder, split = open_dataset(run.task, data_dir), run.task.splits["test"]
    names = [mistake["name"] for mistake in mistakes]
    images = {}
    for example in read_examples(builder, split, run.config.image_size):
        name = example["name"].numpy().decode()
        if name in names:
            images[name] = example["image"].numpy()
    truth = [run.labels.index(mistake["label"]) for mistake in mistakes]
    faces, model = np.stack([images[name] for name in names]), Network.from_run(run)
    return save_explanation(run / Run.MISTAKE_MAPS, model, faces, names, truth)


def explain_run(run: Run, data_dir: str | Path | None = None) -> None:
    """Explain one test image of each class and the most confident mistakes of a run."""
    explain_split(run, data_dir)
    explain_mistakes(run, data_dir)
