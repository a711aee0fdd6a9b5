"""Explain faces of the data set that a run was trained on."""

from pathlib import Path

import numpy as np

from keras_deep_emotion.data.reading import class_names, open_dataset, read_examples
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.explain import save_explanation
from keras_deep_emotion.saliency.networks import Network
from keras_deep_emotion.saliency.windows import DEFAULT_WINDOWS, Windows, window_starts

MISTAKES = 6
CANDIDATES = 16  # ours: faces of each class, of which typical ones are explained


def explain_split(
    run: Run,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    split: str = "test",
    per_class: int = 1,
    windows: Windows = DEFAULT_WINDOWS,
    model: Network | None = None,
) -> Path:
    """Explain typical images of each class of a run's split; return the path of saliency.npz.

    They are `per_class` for each class: see `typical_examples`. The explained class is the true
    one. `split` is "train", "validation" or "test"; `output` is the folder of the file, None for
    the run's own; `model` is the run's, None to open it.

    Raises:
        ValueError: If windows do not fit the images, `per_class` is below 1, or the split is empty.
    """
    task, size = run.task, run.config.image_size
    window_starts(size, *windows[:2])  # checked before data are read
    builder = open_dataset(task, data_dir)
    run.check_labels(class_names(builder))
    if per_class < 1:
        raise ValueError(f"--per-class must be 1 or more. Received: {per_class}")
    groups = first_per_class(builder, task.splits[split], size, max(CANDIDATES, 2 * per_class))
    model = model or Network.from_run(run)
    examples = [one for group in groups for one in typical_examples(model, group, per_class)]
    labels = [int(example["label"]) for example in examples]
    names = [example["name"].numpy().decode() for example in examples]
    images = np.stack([example["image"].numpy() for example in examples])
    path = Run(output or run) / Run.SALIENCY_MAPS
    return save_explanation(path, model, images, names, labels, labels, windows)


def first_per_class(builder, split: str, size: int, count: int) -> list[list[dict]]:
    """The first `count` examples of each class of a split that occurs, or as many as it has."""
    classes = builder.info.features["label"].num_classes
    groups: list[list[dict]] = [[] for _ in range(classes)]
    for example in read_examples(builder, split, size):
        group = groups[int(example["label"])]
        if len(group) < count:
            group.append(example)
        if all(len(group) == count for group in groups):
            break
    if not any(groups):
        raise ValueError(f"Split {split} holds no faces.")
    return [group for group in groups if group]


def typical_examples(model: Network, examples: list[dict], count: int) -> list[dict]:
    """Of the examples of one class, those that are classified right with middling confidence.

    They are the middle `count` of those that are right, the most confident first; where fewer are
    right, those with the highest probability of the true class.
    """
    label = int(examples[0]["label"])
    scores = model.predict_prepared(np.stack([one["image"].numpy() for one in examples]))
    order = np.argsort(-scores[:, label], kind="stable")
    right = [i for i in order if scores[i].argmax() == label]
    start = max(0, (len(right) - count) // 2)
    chosen = right if len(right) >= count else order
    return [examples[i] for i in chosen[start : start + count]]


def explain_mistakes(
    run: Run,
    data_dir: str | Path | None = None,
    windows: Windows = DEFAULT_WINDOWS,
    model: Network | None = None,
) -> Path | None:
    """Explain the most confident mistakes of an evaluated run; write mistakes.npz if any.

    `model` is the run's; None to open it.
    """
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
    faces, model = np.stack([images[name] for name in names]), model or Network.from_run(run)
    path = run / Run.MISTAKE_MAPS
    return save_explanation(path, model, faces, names, truth, windows=windows)


def explain_run(run: Run, data_dir: str | Path | None = None) -> None:
    """Explain a typical test image of each class and the most confident mistakes of a run."""
    model = Network.from_run(run)
    explain_split(run, data_dir, model=model)
    explain_mistakes(run, data_dir, model=model)
