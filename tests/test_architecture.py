"""Imports run one way: what each folder may import, one row a folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "keras_deep_emotion"
# Folders and modules of the package, and what each may import of ours; tfds_builders by its name.
ALLOWED = {
    "config": set(),
    "files": set(),
    "exports": set(),
    "layers": set(),
    "models": {"layers"},
    "images": {"models"},
    "data": {"images", "tfds_builders"},
    "runs": {"config", "data.task", "files", "layers"},
    "evaluation": {"data", "files", "runs"},
    "saliency": {"data", "files", "images", "models", "runs"},
    "inference": {"exports", "files", "images", "runs", "saliency"},
    "reports": {"config", "data.task", "evaluation", "files", "runs"},
    "training": {
        "config", "data", "evaluation", "files", "layers", "models", "reports", "runs", "saliency",
    },
    "experiments": {
        "config", "data", "evaluation", "files", "reports", "runs", "training",
    },
    "serving": {
        "exports", "files", "images", "inference.array_predictors", "models",
        "reports.model_card", "runs", "saliency",
    },
    "scoring": {"exports", "files", "images"},
    "demo": {"images", "inference", "reports", "serving.ports", "tfds_builders"},
    "spatial_transformer": {"layers"},  # alias of the old path
}  # fmt: skip
OURS = ("keras_deep_emotion.", "tfds_builders")
# Without TensorFlow: they run on every backend, or answer before TensorFlow is imported.
WITHOUT_TENSORFLOW = ("config", "exports", "files", "layers", "models", "runs")
STANDARD_LIBRARY = ("config.py", "exports.py", "files.py", "data/catalog.py", "data/task.py")
HEAVY = {
    "apache_beam", "keras", "matplotlib", "numpy", "pandas", "tensorflow", "tensorflow_datasets",
}  # fmt: skip


def imports(path):
    """(full names imported anywhere in a file, those imported at its top level)."""

    def names(node):
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        return []

    tree = ast.parse(path.read_text())
    anywhere = {name for node in ast.walk(tree) for name in names(node)}
    return anywhere, {name for node in tree.body for name in names(node)}


def room_of(path):
    """The folder of the package that a file belongs to; its name for a module."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def modules(room):
    """The files of a folder or module of the package."""
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_every_folder_has_a_row():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "cli"}
    assert rooms == set(ALLOWED)


def test_few_modules_lie_beside_the_folders():
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def is_in(module, folder):
    """Whether a module is a folder or lies in it."""
    return f"{module}.".startswith(f"{folder}.")


@pytest.mark.parametrize("room", ALLOWED)
def test_a_folder_imports_what_its_row_allows_and_no_less(room):
    names = {name for path in modules(room) for name in imports(path)[0]}
    ours = {name.removeprefix("keras_deep_emotion.") for name in names if name.startswith(OURS)}
    others = {name for name in ours - {"__version__"} if not is_in(name, room)}
    allowed = ALLOWED[room]
    assert not {name for name in others if not any(is_in(name, one) for one in allowed)}
    assert not {one for one in allowed if not any(is_in(name, one) for name in others)}


@pytest.mark.parametrize("room", WITHOUT_TENSORFLOW)
def test_a_folder_does_without_tensorflow(room):
    for path in modules(room):
        _, top = imports(path)
        assert not {name for name in top if name.split(".")[0].startswith("tensorflow")}, path


@pytest.mark.parametrize("name", ["saliency", "evaluation"])
def test_what_computes_draws_nothing(name):
    for path in modules(name):
        anywhere, _ = imports(path)
        assert not {one for one in anywhere if one.split(".")[0] == "matplotlib"}, path


@pytest.mark.parametrize("name", STANDARD_LIBRARY)
def test_what_the_command_line_needs_first_is_light(name):
    import sys

    anywhere, _ = imports(PACKAGE / name)
    packages = {one.split(".")[0] for one in anywhere}
    assert packages <= sys.stdlib_module_names | {"keras_deep_emotion"}


@pytest.mark.parametrize("path", modules("cli"), ids=lambda path: path.stem)
def test_the_command_line_imports_nothing_heavy_at_its_top(path):
    _, top = imports(path)
    assert not {name.split(".")[0] for name in top} & HEAVY


def test_nothing_imports_the_command_line():
    for path in PACKAGE.rglob("*.py"):
        if room_of(path) != "cli":
            anywhere, _ = imports(path)
            assert not {name for name in anywhere if name.startswith("keras_deep_emotion.cli")}


@pytest.mark.parametrize("room", ["images", "inference", "saliency"])
def test_predictions_by_litert_do_without_tensorflow(room):
    """A test of `load` sees that nothing imports it; here, which modules may."""
    heavy = {"graph", "graph_faces", "client", "tensorflow_predictors"}
    heavy |= {"benchmark", "explain_run", "faithfulness", "networks", "occlusion"}
    for path in modules(room):
        _, top = imports(path)
        packages = {name.split(".")[0] for name in top}
        assert not packages & {"keras", "tensorflow"} or path.stem in heavy, path


def test_what_opens_an_export_never_imports_tensorflow():
    anywhere, _ = imports(PACKAGE / "serving" / "c_loader.py")
    packages = {one.split(".")[0] for one in anywhere}
    assert not packages & {"keras", "tensorflow", "tensorflow_serving"}


@pytest.mark.parametrize("path", sorted((ROOT / "tfds_builders").rglob("*.py")), ids=str)
def test_builders_import_nothing_of_the_package(path):
    anywhere, _ = imports(path)
    assert not {name for name in anywhere if name.startswith("keras_deep_emotion")}


def test_the_picture_of_the_architecture_is_that_of_the_code():
    import runpy

    drawn = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))["draw"]()
    assert drawn == (ROOT / "docs" / "architecture.svg").read_text(), "run: make docs"
