"""Predictions as rows of CSV and as JSON objects."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_deep_emotion.files import atomic_write, printable_path
from keras_deep_emotion.inference.media import ImageResult

BOX = ("x", "y", "width", "height")


def prediction_row(result: ImageResult, labels: list[str], index: int) -> dict[str, Any]:
    """Face number `index` of a result without an error as a row of CSV.

    The columns are file, frame and seconds ("" if not of a video), x, y, width and height of the
    box, the degrees by which the photo was turned ("" for a crop), emotion, probability, and one
    for each class.
    """
    row = result.probabilities[index]
    box = [""] * 4 if result.faces is None else result.faces[index].box.round().astype(int).tolist()
    return {
        "file": printable_path(result.file),
        "frame": "" if result.frame is None else result.frame,
        "seconds": "" if result.seconds is None else round(result.seconds, 3),
        **dict(zip(BOX, box, strict=True)),
        "turned": "" if result.faces is None else result.faces[index].turned,
        "emotion": labels[row.argmax()],
        "probability": round(float(row.max()), 6),
        **{label: round(float(value), 6) for label, value in zip(labels, row, strict=True)},
    }


def prediction_json(result: ImageResult, labels: list[str], index: int) -> dict[str, Any]:
    """One face of a result as a JSON object; arguments as `prediction_row`.

    `frame` and `seconds` are of videos only; `box`, `landmarks` (x and y of eyes, nose, corners of
    the mouth) and `turned` are left out for crops. `file` is the exact path.
    """
    row = prediction_row(result, labels, index)
    probabilities = list(map(float, result.probabilities[index]))
    return {
        "file": str(result.file),
        **({} if result.frame is None else {key: row[key] for key in ("frame", "seconds")}),
        **({} if result.faces is None else _face_json(result.faces[index], row)),
        "emotion": row["emotion"],
        "probability": max(probabilities),
        "probabilities": dict(zip(labels, probabilities, strict=True)),
    }


def _face_json(face, row):
    landmarks = face.landmarks.round(1).tolist()
    return {"box": [row[key] for key in BOX], "landmarks": landmarks, "turned": face.turned}


def save_video_table(results: Iterable[ImageResult], labels: list[str], path: str | Path) -> None:
    """Write the results of a video's frames to a CSV file, a row for each face."""
    import pandas as pd  # takes longer than to predict a photo

    rows = [
        prediction_row(result, labels, index)
        for result in results
        for index in range(len(result.probabilities))
    ]
    with atomic_write(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\r\n")
