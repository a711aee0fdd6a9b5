"""CK+'s native trees, CK+48 and ckextended.csv, drawn small: nobody here has the real ones."""

import numpy as np
from native_files import png

from tfds_builders.ck_plus.native import CK_PLUS_CODES
from tfds_builders.contract import EMOTIONS

PEOPLE = (
    "S005", "S010", "S011", "S014", "S022", "S026", "S130", "S138", "S501", "S506", "S895", "S999",
)  # fmt: skip
SIX = [emotion for emotion in EMOTIONS if emotion != "neutral"]
IMAGES = "cohn-kanade-images/{}/{}/{}_{}_{:08}.png"
LABELS = "Emotion/{}/{}/{}_{}_{:08}_emotion.txt"
LANDMARKS = "Landmarks/{}/{}/{}_{}_{:08}_landmarks.txt"


def label_text(emotion):
    return f"   {CK_PLUS_CODES.index(emotion):.7e}\n".encode()


def landmark_text(number):
    """68 landmarks from (20, 15) to (40, 40), moved right by the frame's number."""
    xs, ys = np.linspace(20, 40, 68) + number, np.linspace(40, 15, 68)
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in zip(xs, ys, strict=True)).encode()


class Drawn:
    """Twelve people with five sequences each: three of the six emotions (six sequences of each in
    all), contempt for the last six people, the fifth without a label.
    """

    def __init__(self):
        levels = np.random.default_rng(0)
        self.takes = {}  # (subject, sequence): (emotion or None, last frame)
        self.pixels = {}
        self.images, self.labels, self.landmarks = {}, {}, {}
        for i, subject in enumerate(PEOPLE):
            for j in range(5):
                take = f"{j + 1:03}"
                emotion = SIX[(3 * i + j) % 6] if j < 3 else "contempt" if j == 3 else None
                if emotion == "contempt" and i < 6:
                    emotion = None
                last = 4 + (i + j) % 3
                self.takes[subject, take] = (emotion, last)
                size = (49, 64) if i % 2 else (48, 64, 3)  # standing for 490 x 640, 480 x 640
                for number in range(1, last + 1):
                    place = (subject, take, subject, take, number)
                    pixels = levels.integers(0, 256, size).astype(np.uint8)
                    self.pixels[f"{subject}_{take}_{number:08}.png"] = pixels
                    self.images[IMAGES.format(*place)] = png(pixels)
                    self.landmarks[LANDMARKS.format(*place)] = landmark_text(number)
                if emotion:
                    name = LABELS.format(subject, take, subject, take, last)
                    self.labels[name] = label_text(emotion)

    def expected(self, last, neutral, contempt):
        """{name: emotion} of a variant."""
        found = {}
        for (subject, take), (emotion, peak) in self.takes.items():
            if emotion is None or (emotion == "contempt" and not contempt):
                continue
            for number in range(peak - last + 1, peak + 1):
                found[f"{subject}_{take}_{number:08}.png"] = emotion
            if neutral:
                found[f"{subject}_{take}_00000001.png"] = "neutral"
        return found


def emotions_of(splits, classes=EMOTIONS):
    return {one["name"].decode(): classes[one["label"]] for part in splits.values() for one in part}


def extended(count=8, codes=range(8), usage="Training"):
    """ckextended.csv with `count` rows of each code, and their pixels."""
    images = np.random.default_rng(4).integers(0, 256, (count * len(codes), 48, 48))
    lines = ["emotion,pixels,Usage"]
    for i, image in enumerate(images):
        lines.append(f"{codes[i % len(codes)]},{' '.join(map(str, image.ravel()))},{usage}")
    return "\n".join(lines) + "\n", images.astype(np.uint8)
