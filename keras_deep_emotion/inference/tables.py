"""TODO."""

import csv

from keras_deep_emotion.files import atomic_write, printable_path


def prediction_row(answer, labels, place):
    """One face of an answer as a flat dict, for CSV.

    Args:
        answer: `answers.Answer`.
        labels: names of the classes.
        place: of the face among the answer's.

    Returns:
        dict of file, frame and seconds of a video ("" of a photo), x, y, width and height of the
        box ("" of a crop), emotion, probability, and the probability of each class.
    """
    row = answer.probabilities[place]
    box = [""] * 4
    if answer.faces is not None:
        box = [round(float(one)) for one in answer.faces[place].box]
    return {
        "file": printable_path(answer.file),
        "frame": "" if answer.frame is None else answer.frame,
        "seconds": "" if answer.seconds is None else round(answer.seconds, 3),
        **dict(zip(("x", "y", "width", "height"), box, strict=True)),
        "emotion": labels[row.argmax()],
        "probability": round(float(row.max()), 6),
        **{label: round(float(one), 6) for label, one in zip(labels, row, strict=True)},
    }


def save_video_table(answers, labels, path):
    """Write the answers to a video's frames as CSV: a row for each face, as `fields` has it."""
    rows = [
        prediction_row(answer, labels, place)
        for answer in answers
        for place in range(len(answer.probabilities))
    ]
    with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
