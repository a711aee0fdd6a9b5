"""Exported models: a folder of numbered versions, as TensorFlow Serving reads it.

<path>/<version>/saved_model.pb, variables/
                 assets/labels.txt, config.json, model_card.md, expected.npz
                 assets.extra/tf_serving_warmup_requests, model.tflite (if it was asked for)

Beside the folders of models, `export --format` writes NAME.tflite and NAME.onnx, and NAME.json
with their labels, sizes and range.
"""

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
LABELS = "assets/labels.txt"
ABOUT = "assets/config.json"
CARD = "assets/model_card.md"
EXPECTED = "assets/expected.npz"
WARMUP = "assets.extra/tf_serving_warmup_requests"
LITERT = "assets.extra/model.tflite"
LITERT_LABELS, LITERT_ABOUT = "labels.txt", "about.json"  # in the archive behind a LiteRT model


class EdgeFile(NamedTuple):
    """Files of an edge format: their suffix, and the packages that write and open them."""

    suffix: str
    packages: tuple[str, ...]


EDGE_FILES = {
    "litert": EdgeFile(".tflite", ("ai_edge_litert",)),
    "onnx": EdgeFile(".onnx", ("onnx", "onnxruntime", "tf2onnx")),
}
EDGE_SUFFIXES = tuple(file.suffix for file in EDGE_FILES.values())
QUANTIZATIONS = ("none", "float16", "dynamic")


def is_version(name: str) -> bool:
    """Whether TensorFlow Serving takes a folder of this name for a version."""
    return name.isdecimal() and len(name) < 20 and int(name) < 2**63


def newest_version(names: Iterable[str]) -> str | None:
    """The name of the highest version, or None if none of the names is a version."""
    return max(filter(is_version, names), key=int, default=None)


def is_saved_model(path: str | Path) -> bool:
    """Whether a folder holds a SavedModel."""
    return any((Path(path) / name).is_file() for name in SAVED_MODEL)


def check_name(name: str) -> None:
    """Raise ValueError if a model's name cannot be a folder and a part of a URL."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"A model's name has letters, digits, _ and - only. Received: {name!r}")
    if re.fullmatch(r"con|prn|aux|nul|com\d|lpt\d", name, re.IGNORECASE):
        raise ValueError(f"Windows has no folder of this name; choose another. Received: {name!r}")


def default_name(dataset: str) -> str:
    """Name of an export of a run on a data set, such as "fer2013/original"."""
    return dataset.replace("/", "_")


def check_format(format: str, quantize: str = "none") -> None:
    """Check that a model can be written in an edge format.

    Raises:
        ValueError: If there is no such format or quantization.
        ModuleNotFoundError: If the packages of the format are not installed.
    """
    if format not in EDGE_FILES:
        raise ValueError(f"format must be one of {', '.join(EDGE_FILES)}. Received: {format!r}")
    if quantize == "integer":
        raise ValueError(
            "Integers throughout would give the spatial transformer's sampling positions 8 bits, "
            "and it would sample the wrong pixels: quantize='dynamic' has weights of 8 bits and "
            "positions of 32."
        )
    if quantize not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise ValueError(f"quantize must be one of {known}. Received: {quantize!r}")
    packages = EDGE_FILES[format].packages
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} not installed, which --format {format} needs: "
            f"pip install {' '.join(missing).replace('_', '-')}"
        )


def damaged(path: str | Path, error: BaseException | str) -> ValueError:
    """Error for a version that cannot be opened, or that is not of this package."""
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return ValueError(
        f"{path} is damaged, or not an export of this package: {reason}. Export the run again: "
        "keras-deep-emotion export RUN"
    )


class Export:
    """A model's folder of versions.

    Args:
        path: Folder of versions; it need not exist yet.
        version: Number of one version, or None for the newest.
    """

    def __init__(self, path: str | Path, version: int | None = None):
        self.path = Path(path)
        self.version = version

    @classmethod
    def find(cls, path: str | Path) -> "Export":
        """The export at a folder of versions or of one; FileNotFoundError if it has none."""
        path = Path(path).resolve()
        if is_saved_model(path) and path.name.isdecimal():
            return cls(path.parent, int(path.name))
        if is_saved_model(path) or not path.is_dir() or not cls(path).versions():
            raise FileNotFoundError(
                f"{path} is not an export: it has no versions, folders such as 1 with a "
                "saved_model.pb. `keras-deep-emotion export RUN` makes one; name exports/NAME, or "
                "exports/NAME/VERSION."
            )
        return cls(path)

    def versions(self) -> dict[int, Path]:
        """Folder of each version by number, ascending; OSError if the folder cannot be read."""
        paths = {int(path.name): path for path in self.path.iterdir() if is_version(path.name)}
        return {number: paths[number] for number in sorted(paths) if paths[number].is_dir()}

    def next_version(self) -> Path:
        """Folder that the next version gets: its number is above every name that is a number."""
        newest = newest_version(entry.name for entry in self.path.iterdir())
        return self.path / str(int(newest or 0) + 1)
