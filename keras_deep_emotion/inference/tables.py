"""Predictions as rows of CSV and as JSON objects."""

import contextlib
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_deep_emotion.files import atomic_write, csv_path
from keras_deep_emotion.inference.media import ImageResult

BOX = ("x", "y", "width", "height")


def prediction_rows(result: ImageResult, labels: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of CSV for a result without an error, one a face; one for a video's frame without any.

    The columns are file, frame, seconds and track, the person's number ("" if not of a video), x,
    y, width and height of the box, the degrees by which the photo was turned ("" for a crop),
    emotion, probability, and one for each class; "" where there is no face.
    """
    frame = "" if result.frame is None else result.frame
    seconds = "" if result.seconds is None else round(result.seconds, 3)
    place = {"file": csv_path(result.file), "frame": frame, "seconds": seconds}
    for index, row in enumerate(result.probabilities):
        face = None if result.faces is None else result.faces[index]
        box = [""] * 4 if face is None else face.box.round().astype(int).tolist()
        yield {
            **place,
            "track": "" if result.tracks is None else result.tracks[index],
            **dict(zip(BOX, box, strict=True)),
            "turned": "" if face is None else face.turned,
            "emotion": labels[row.argmax()],
            "probability": round(float(row.max()), 6),
            **{label: round(float(value), 6) for label, value in zip(labels, row, strict=True)},
        }
    if not len(result.probabilities) and result.frame is not None:
        columns = ("track", *BOX, "turned", "emotion", "probability", *labels)
        yield place | dict.fromkeys(columns, "")


def prediction_json(result: ImageResult, labels: list[str]) -> Iterator[dict[str, Any]]:
    """JSON objects for a result without an error, as `prediction_rows`.

    `frame`, `seconds` and `track` are of videos only; `box`, `landmarks` (x and y of eyes, nose,
    corners of the mouth) and `turned` are left out for crops. `file` is the exact path. A frame
    without a face has null for `track`, `emotion`, `probability` and `probabilities`.
    """
    for index, row in enumerate(prediction_rows(result, labels)):
        is_face = row["emotion"] != ""
        values = list(map(float, result.probabilities[index])) if is_face else None
        is_box = is_face and result.faces is not None
        place = ("frame", "seconds", "track") if result.frame is not None else ()
        yield {
            "file": str(result.file),
            **{key: row[key] if row[key] != "" else None for key in place},
            **(_face_json(result.faces[index], row) if is_box else {}),
            "emotion": row["emotion"] or None,
            "probability": max(values) if is_face else None,
            "probabilities": dict(zip(labels, values, strict=True)) if is_face else None,
        }


def _face_json(face, row):
    landmarks = face.landmarks.round(1).tolist()
    return {"box": [row[key] for key in BOX], "landmarks": landmarks, "turned": face.turned}


@contextlib.contextmanager
def open_table(
    path: str | Path, labels: list[str], announce: Callable[[], None] = lambda: None
) -> Iterator[Callable[[ImageResult], None]]:
    """Yield a function that writes the rows of a result to a CSV file.

    The file appears, whole, at the end of the context; after an error with what was written until
    then. `announce` is called when it is there.
    """
    failure = None
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)

        def add(result):
            for row in prediction_rows(result, labels):
                if not file.tell():
                    writer.writerow(row)
                writer.writerow(row.values())

        try:
            yield add
        except BaseException as error:  # an interrupt too
            failure = error
    announce()
    if failure is not None:
        raise failure
