"""FER-2013 as CSV and JPEG files, and FER+'s votes, for twelve small faces."""

import numpy as np
from PIL import Image

from keras_deep_emotion.data.building import build_dataset

USAGES = ("Training",) * 6 + ("PublicTest",) * 3 + ("PrivateTest",) * 3
CODES = (0, 1, 2, 3, 4, 5, 6, 3, 0, 6, 5, 4)
# Columns: neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF.
VOTES = (
    (0, 0, 0, 0, 9, 1, 0, 0, 0, 0),  # anger
    (4, 0, 0, 4, 0, 0, 0, 2, 0, 0),  # a tie: neutral comes first
    (0, 0, 0, 0, 0, 0, 1, 9, 0, 0),  # contempt cannot be the label: fear
    (0, 9, 0, 0, 0, 0, 0, 0, 0, 1),
    (0, 0, 0, 8, 0, 0, 0, 0, 2, 0),
    None,  # not a face
    (9, 0, 0, 0, 0, 0, 0, 0, 1, 0),
    (0, 8, 2, 0, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 6, 4, 0, 0, 0, 0),
    (5, 0, 0, 0, 0, 5, 0, 0, 0, 0),  # a tie: neutral comes first
    (0, 0, 9, 1, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 1, 0, 2, 1, 6, 0, 0),  # disgust
)
LABELS = ("anger", "neutral", "fear", "happiness", "sadness", None) + (
    "neutral", "happiness", "anger", "neutral", "surprise", "disgust",
)  # fmt: skip


def csv_text(pixels, header="emotion,pixels,Usage", order=(0, 1, 2)):
    lines = [header]
    for image, code, usage in zip(pixels, CODES, USAGES, strict=True):
        cells = (str(code), " ".join(map(str, image.ravel())), usage)
        lines.append(",".join(cells[i] for i in order))
    return "\n".join(lines) + "\n"


def write_ferplus(folder):
    folder.mkdir(exist_ok=True)
    names = [f"fer{i + 100:07}.png" for i in range(12)]  # names are no row numbers
    lines = [
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    ]
    labels = {"Training": [], "PublicTest": [], "PrivateTest": []}
    for name, usage, votes in zip(names, USAGES, VOTES, strict=True):
        lines.append(
            f"{usage},{name if votes else ''},{','.join(map(str, votes or [0] * 9 + [10]))}"
        )
        if votes:
            labels[usage].append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}')
    (folder / "fer2013new.csv").write_text("\n".join(lines) + "\n")
    for part, usage in (("Train", "Training"), ("Valid", "PublicTest"), ("Test", "PrivateTest")):
        (folder / f"FER2013{part}").mkdir(exist_ok=True)
        (folder / f"FER2013{part}" / "label.csv").write_text("\n".join(labels[usage]) + "\n")


def write_folders(folder, pixels):
    """The re-packaging as JPEG files; returns what each decodes to."""
    decoded = {}
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for i, (image, code, usage) in enumerate(zip(pixels, CODES, USAGES, strict=True)):
        part = "train" if usage == "Training" else "test"
        path = folder / part / names[code] / f"{usage}_{i * 37}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=95)
        decoded[f"{names[code]}/{path.name}"] = np.asarray(Image.open(path))
    return decoded


def write_source(folder, pixels):
    folder.mkdir()
    (folder / "fer2013.csv").write_text(csv_text(pixels))
    write_ferplus(folder)
    return folder


def build(dataset, source, data_dir):
    (builder,) = build_dataset(dataset, source, data_dir)
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }
