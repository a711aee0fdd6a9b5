"""Where a trained model looks on given faces: maps, the most telling occlusions, attended regions.

Pictures like the paper's figures 11 and 12, and the numbers behind them.
"""

import json
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion import report as reports
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.crops import read_crop
from keras_deep_emotion.data import decode, examples, prepare
from keras_deep_emotion.predict import load_run
from keras_deep_emotion.runs import judged_split
from keras_deep_emotion.saliency import filled, gather_windows, occlude, window_starts

TELLING = 9  # the paper, figure 11
MISTAKES = 6


class Explanation(NamedTuple):
    """What `explain_faces` finds; arrays, one entry a face.

    Attributes:
        probabilities: (count, classes) float32.
        class_id: (count,) int64, the class that was watched.
        saliency: (count, size, size) float32, see `saliency.Saliency`.
        decisive: (count, size, size) bool, see there.
        lost: (count, rows, columns) float32, what each window took, see `saliency.Occlusions`.
        answer: (count, rows, columns) int64, what was answered without it.
        theta: (count, 6) float32 transforms, or None without a transformer.
        attended: (count, size, size) float32 grey levels 0..255, the warped faces, or None.
    """

    probabilities: np.ndarray
    class_id: np.ndarray
    saliency: np.ndarray
    decisive: np.ndarray
    lost: np.ndarray
    answer: np.ndarray
    theta: np.ndarray | None
    attended: np.ndarray | None


def explain_faces(model, images, class_id=None, window=8, stride=2, filling="zero"):
    """Find where a model looks on faces.

    Args:
        model: `predict.Model`.
        images: (count, size, size, 1) grey levels 0..255.
        class_id: (count,) integers, the class to watch, or None for the one that is answered.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels, at most the window.
        filling: what hidden pixels become, see `saliency.filled`.

    Returns:
        `Explanation`.

    Raises:
        ValueError: as `saliency.occlude`.
    """
    images = tf.convert_to_tensor(images, tf.float32)

    @tf.function(autograph=False)
    def maps(faces):
        found = occlude(model.classify, faces, class_id, window, stride, filling)
        return found, gather_windows(found, faces.shape[1:3], window, stride)

    found, gathered = maps(images)
    theta, attended = attend(model.keras, images)
    return Explanation(
        probabilities=found.probabilities.numpy(),
        class_id=found.class_id.numpy(),
        saliency=gathered.saliency.numpy(),
        decisive=gathered.decisive.numpy(),
        lost=found.lost.numpy(),
        answer=found.answer.numpy(),
        theta=theta,
        attended=attended,
    )


def attend(model, images):
    """What the spatial transformer makes of faces.

    Args:
        model: `keras.Model`, or None.
        images: (count, size, size, 1) float32 grey levels 0..255.

    Returns:
        (theta, attended) as in `Explanation`; (None, None) without a transformer.
    """
    if model is None or not any(layer.name == "attended" for layer in model.layers):
        return None, None
    outputs = [model.get_layer(name).output for name in ("theta", "attended")]
    theta, attended = keras.Model(model.input, outputs).predict_on_batch(images)
    return theta, (attended[..., 0].astype(np.float32) + 1) * 127.5  # the network's own -1..1


def telling_windows(lost, count=TELLING):
    """The windows that took most, of which none lies mostly on another.

    Args:
        lost: (rows, columns) what each took.
        count: how many at most.

    Returns:
        List of (row, column), most telling first. Windows next to each other take nearly the same:
        of those less than a sixth of the grid apart in both directions only the best is taken.
    """
    rows, columns = lost.shape
    chosen = []
    for place in np.argsort(-lost, axis=None, kind="stable"):
        row, column = divmod(int(place), columns)
        near = (abs(row - y) < rows / 6 and abs(column - x) < columns / 6 for y, x in chosen)
        if not any(near):
            chosen.append((row, column))
        if len(chosen) == count:
            break
    return chosen


def occluded_faces(image, window, stride, places, filled):
    """One face with each of some windows hidden.

    Args:
        image: (size, size) grey levels.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels, at most the window.
        places: list of (row, column) of windows.
        filled: (size, size), what hidden pixels become.

    Returns:
        (len(places), size, size) grey levels.
    """
    tops = window_starts(image.shape[0], window, stride)
    lefts = window_starts(image.shape[1], window, stride)
    faces = np.repeat(np.asarray(image)[None], len(places), axis=0)
    for face, (row, column) in zip(faces, places, strict=True):
        hidden = (
            slice(tops[row], tops[row] + window),
            slice(lefts[column], lefts[column] + window),
        )
        face[hidden] = filled[hidden]
    return faces


def chosen_examples(builder, split, size, per_class):
    """The first faces of each class of a split, class by class.

    Args:
        builder: what `data.built_dataset` returns.
        split: TFDS split expression.
        size: side of the faces, pixels.
        per_class: how many of each, 1 or more.

    Returns:
        List of examples, as from `data.examples`; fewer of a class where the split has fewer.

    Raises:
        ValueError: `per_class` is below 1, or the split is empty.
    """
    if per_class < 1:
        raise ValueError(f"--per-class must be 1 or more. Received: {per_class}")
    classes = builder.info.features["label"].num_classes
    found = {label: [] for label in range(classes)}
    for example in examples(builder, split, size):
        of_class = found[int(example["label"])]
        if len(of_class) < per_class:
            of_class.append(example)
        if all(len(faces) == per_class for faces in found.values()):
            break
    if not any(found.values()):
        raise ValueError(f"Split {split} holds no faces.")
    return [example for label in range(classes) for example in found[label]]


def explain_split(model, config, data_dir, output, role="test", per_class=1, **windows):
    """Draw where a run's model looks on faces of its data set, watching the true class.

    Args:
        model: `predict.Model` of a run.
        config: its `TrainConfig`.
        data_dir: where the data sets are built, None for TFDS's own place.
        output: folder for the files, made if it is not there.
        role: "train", "validation" or "test".
        per_class: faces of each emotion, the first of the split.
        windows: `window`, `stride` and `filling`, as `saliency.occlude` takes them.

    Returns:
        Paths that were written.

    Raises:
        ValueError: windows do not fit the faces, or the split has none.
    """
    window_starts(model.size, windows["window"], windows["stride"])  # before the data are read
    builder, split = judged_split(config, data_dir, role)
    chosen = chosen_examples(builder, split, model.size, per_class)
    return save_explanation(
        model,
        np.stack([example["image"].numpy() for example in chosen]),
        [example["name"].numpy().decode() for example in chosen],
        output,
        truth=[int(example["label"]) for example in chosen],
        **windows,
    )


def explain_mistakes(model, config, data_dir, output, mistakes):
    """Draw where a model looks when it is surely wrong, watching its own answer: mistakes.png.

    Args:
        model: `predict.Model` of a run.
        config: its `TrainConfig`.
        data_dir: where the data sets are built, None for TFDS's own place.
        output: folder for the picture.
        mistakes: the report's `surest_mistakes`; the first `MISTAKES` are drawn.

    Returns:
        List of the path that was written; empty where there is no mistake.
    """
    places = {one["name"]: place for place, one in enumerate(mistakes[:MISTAKES])}
    if not places:
        return []
    builder, split = judged_split(config, data_dir)
    found = {}
    for example in examples(builder, split, model.size):
        name = example["name"].numpy().decode()
        if name in places:
            found[places[name]] = example["image"].numpy()
    faces = np.stack([found[place] for place in sorted(found)])
    shown = [mistakes[place] for place in sorted(found)]
    maps = explain_faces(model, faces)
    figure = reports.saliency_figure(
        faces,
        maps.saliency,
        maps.decisive,
        [one["label"] for one in shown],
        [f"{one['answer']} {one['probability']:.0%}" for one in shown],
        "changes\nthe answer",
    )
    figure.savefig(Path(output) / "mistakes.png", dpi=120)
    return [Path(output) / "mistakes.png"]


def explain_run(run_dir, data_dir=None):
    """All pictures of where a run's model looks that its report shows: of `fit`'s last step.

    Args:
        run_dir: a folder that was judged.
        data_dir: where the data sets are built, None for TFDS's own place.

    Returns:
        Paths that were written.
    """
    run_dir = Path(run_dir)
    model, config = load_run(run_dir), TrainConfig.from_json(run_dir / "config.json")
    mistakes = json.loads((run_dir / "report.json").read_text())["surest_mistakes"]
    return [
        *explain_split(model, config, data_dir, run_dir, window=8, stride=2),
        *explain_mistakes(model, config, data_dir, run_dir, mistakes),
    ]


def explain_files(model, files, output, **windows):
    """Draw where a model looks on image files of cropped faces, watching its own answers.

    Args:
        model: `predict.Model`.
        files: paths of pictures that `photos.open_photo` reads.
        output: folder for the files.
        windows: as `explain_split` takes them.

    Returns:
        (paths that were written, list of (file, why it could not be read)).

    Raises:
        ValueError: windows do not fit the faces, or no file could be read.
    """
    window_starts(model.size, windows["window"], windows["stride"])
    contents = [(Path(file), *read_crop(file)) for file in files]
    good = [(file, content) for file, content, error in contents if error is None]
    bad = [(file, error) for file, _, error in contents if error is not None]
    if not good:
        raise ValueError("; ".join(f"{file}: {error}" for file, error in bad) + ".")
    faces = np.stack([prepare(decode(content), model.size).numpy() for _, content in good])
    return save_explanation(model, faces, [str(file) for file, _ in good], output, **windows), bad


def save_explanation(model, faces, names, output, truth=None, window=8, stride=2, filling="zero"):
    """Explain faces and write saliency.png, occlusions.png, attended.png and saliency.npz.

    Args:
        model: `predict.Model`.
        faces: (count, size, size, 1) float32 grey levels 0..255.
        names: (count,) text.
        output: folder, made if it is not there.
        truth: (count,) integers, the true classes, which are then watched; None if unknown.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels, at most the window.
        filling: what hidden pixels become, see `saliency.filled`.

    Returns:
        Paths that were written; no attended.png without a transformer.
    """
    found = explain_faces(model, faces, truth, window, stride, filling)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    arrays = {key: value for key, value in found._asdict().items() if value is not None}
    if truth is not None:
        arrays["label"] = truth
    np.savez_compressed(
        output / "saliency.npz", name=names, classes=model.labels, image=faces[..., 0], **arrays
    )
    answers = [model.labels[i] for i in found.probabilities.argmax(axis=1)]
    truths = [None if truth is None else model.labels[truth[i]] for i in range(len(faces))]
    pictures = {
        "saliency.png": reports.saliency_figure(
            faces, found.saliency, found.decisive, truths, answers
        ),
        "occlusions.png": occlusions_figure(model, faces, found, truths, window, stride, filling),
    }
    if found.theta is not None:
        titles = [
            answer if one is None else one for one, answer in zip(truths, answers, strict=True)
        ]
        pictures["attended.png"] = reports.attended_figure(
            faces, found.theta, found.attended[..., None], titles
        )
    for name, figure in pictures.items():
        figure.savefig(output / name, dpi=120)
    return [output / "saliency.npz", *(output / name for name in pictures)]


def occlusions_figure(model, faces, found, truths, window, stride, filling):
    """The picture of each face's most telling occlusions; arguments as in `save_explanation`."""
    substitutes = filled(tf.convert_to_tensor(faces, tf.float32), filling, window).numpy()
    rows = []
    for i, face in enumerate(faces[..., 0]):
        places = telling_windows(found.lost[i])
        rows.append(
            reports.OccludedFace(
                face=face,
                truth=truths[i],
                answer=model.labels[found.probabilities[i].argmax()],
                occluded=occluded_faces(face, window, stride, places, substitutes[i, ..., 0]),
                answers=[model.labels[found.answer[i][place]] for place in places],
                lost=[float(found.lost[i][place]) for place in places],
            )
        )
    return reports.occlusions_figure(rows)
