"""Imports run one way: the map of the rooms, held to."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIGHT = set()  # what imports nothing of ours
# What each module of the package may import of ours.
ALLOWED = {
    "__init__": {"library"},
    "emotions": LIGHT,
    "config": LIGHT,
    "datasets": LIGHT,
    "files": LIGHT,
    "image_files": LIGHT,
    "scoring": {"crops", "files", "image_files", "photos"},
    "evaluation": LIGHT,
    "model_card": {"datasets", "evaluation"},
    "page": {"config", "datasets", "evaluation", "files"},
    "saliency": LIGHT,
    "report": {"evaluation"},
    "spatial_transformer": LIGHT,
    "c_loader": LIGHT,
    "verify_export": {"c_loader"},
    "augmentation": {"spatial_transformer"},
    "normalization": LIGHT,
    "model": {"normalization", "spatial_transformer"},
    "building": {"datasets"},
    "mixup": LIGHT,
    "data": {"datasets", "emotions", "image_files", "mixup"},
    "inspection": {"data"},
    "runs": {
        "config",
        "data",
        "datasets",
        "evaluation",
        "files",
        "normalization",
        "report",
        "spatial_transformer",
    },
    "faithfulness": LIGHT,
    "explanation": {
        "config",
        "crops",
        "data",
        "predict",
        "report",
        "runs",
        "saliency",
    },
    "map_scores": {
        "data",
        "explanation",
        "faithfulness",
        "files",
        "predict",
        "report",
        "runs",
        "saliency",
    },
    "trainer": {"augmentation"},
    "callbacks": {"files", "normalization", "trainer"},
    "monitoring": {"evaluation", "report", "saliency"},
    "training": {
        "callbacks",
        "config",
        "data",
        "datasets",
        "evaluation",
        "explanation",
        "files",
        "model",
        "monitoring",
        "page",
        "runs",
        "teaching",
        "trainer",
    },
    "teaching": {"config", "datasets", "files", "runs"},
    "reproduction": {
        "building",
        "config",
        "data",
        "datasets",
        "evaluation",
        "files",
        "report",
        "runs",
        "training",
    },
    "distribution": {
        "callbacks",
        "data",
        "datasets",
        "files",
        "model",
        "normalization",
        "trainer",
        "training",
    },
    "tuning": {"config", "data", "datasets", "files", "training"},
    "photos": LIGHT,
    "faces": LIGHT,
    "annotation": {"files"},
    "crops": {"data", "image_files", "photos"},
    "predict": {"crops", "data", "model", "runs", "saliency"},
    "answers": {"crops", "faces", "photos"},
    "library": {"predict", "runs", "serving"},
    "serving": {"predict", "saliency"},
    "endpoints": {"data", "saliency"},
    "warmup": {"verify_export"},
    "export": {
        "endpoints",
        "files",
        "model",
        "model_card",
        "runs",
        "saliency",
        "verify_export",
        "warmup",
    },
    "ports": LIGHT,
    "stand_in": {"ports"},  # it knows an export's path only
    "demo": {
        "annotation",
        "answers",
        "crops",
        "explanation",
        "faces",
        "photos",
        "ports",
        "report",
    },
    "cli": {
        "annotation",
        "answers",
        "faces",
        "photos",
        "demo",
        "ports",
        "stand_in",
        "data",
        "distribution",
        "inspection",
        "report",
        "config",
        "datasets",
        "building",
        "evaluation",
        "explanation",
        "map_scores",
        "page",
        "runs",
        "training",
        "predict",
        "export",
        "verify_export",
        "serving",
        "reproduction",
        "scoring",
        "tuning",
    },
}
PORTABLE = ("spatial_transformer", "augmentation", "mixup", "model", "trainer")
STANDARD_LIBRARY_ONLY = ("__init__", "emotions", "config", "datasets")


def imports(path):
    """(full module names imported anywhere, those at the top level)."""
    tree = ast.parse(path.read_text())

    def names(node):
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        return []

    anywhere = {name for node in ast.walk(tree) for name in names(node)}
    return anywhere, {name for node in tree.body for name in names(node)}


PACKAGE = ROOT / "keras_deep_emotion"
ROOMS = ("cli", "demo", "page", "scoring", "stand_in")  # sub-packages, one entry of the map each
MODULES = sorted(
    [*PACKAGE.glob("*.py"), *(p for room in ROOMS for p in PACKAGE.glob(f"{room}/*.py"))]
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_the_map_allows(path):
    anywhere, _ = imports(path)
    ours = {name.split(".")[1] for name in anywhere if name.startswith("keras_deep_emotion.")}
    room = path.parent.name if path.parent.name in ROOMS else path.stem
    assert ours - {"__version__"} <= ALLOWED[room] | {room}


@pytest.mark.parametrize("name", PORTABLE)
def test_the_network_never_names_tensorflow(name):
    anywhere, _ = imports(ROOT / "keras_deep_emotion" / f"{name}.py")
    assert {one.split(".")[0] for one in anywhere} <= {
        "keras",
        "keras_deep_emotion",
        "math",
        "contextlib",
        "numpy",
    }


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_what_the_command_line_needs_first_is_light(name):
    anywhere, _ = imports(ROOT / "keras_deep_emotion" / f"{name}.py")
    # `__init__` names what it imports later, when it is asked for `load`.
    anywhere -= {"keras_deep_emotion.library.load"}
    assert {one.split(".")[0] for one in anywhere} <= {"dataclasses", "json", "pathlib"}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("cli/*.py")), ids=lambda path: path.stem)
def test_the_command_line_loads_nothing_heavy_at_its_top(path):
    _, top = imports(path)
    heavy = {
        "tensorflow",
        "keras",
        "numpy",
        "pandas",
        "matplotlib",
        "tensorflow_datasets",
        "apache_beam",
    }
    assert not {name.split(".")[0] for name in top} & heavy


@pytest.mark.parametrize("name", ["c_loader", "verify_export"])
def test_what_opens_an_export_never_imports_tensorflow(name):
    anywhere, _ = imports(PACKAGE / f"{name}.py")
    assert not {one.split(".")[0] for one in anywhere} & {
        "tensorflow",
        "tensorflow_serving",
        "keras",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "tfds_builders").rglob("*.py")), ids=str)
def test_builders_know_nothing_of_the_network(path):
    anywhere, _ = imports(path)
    ours = {name for name in anywhere if name.startswith("keras_deep_emotion")}
    assert {name.split(".")[1] for name in ours} <= {"emotions", "image_files"}
