"""Imports run one way: what each folder may import, one row a folder."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "keras_deep_emotion"
# Folders and modules of the package, and what each may import of ours; tfds_builders by its name.
ALLOWED = {
    "config": {"files"},
    "files": set(),
    "program": set(),
    "stopping": set(),
    "exports": set(),
    "layers": set(),
    "models": {"layers"},
    "images": {"models", "program"},
    "data": {"config", "files", "images", "program", "tfds_builders"},
    "runs": {"config", "data.task", "files", "models"},
    "evaluation": {"data", "files", "models", "runs"},
    "saliency": {"data", "files", "images", "models", "runs"},
    "inference": {"exports", "files", "images", "models", "runs", "saliency"},
    "reports": {"config", "data.task", "evaluation", "files", "program", "runs"},
    "training": {
        "config", "data", "evaluation", "files", "layers", "models", "program", "reports", "runs",
        "saliency", "stopping",
    },
    "experiments": {
        "config", "data", "evaluation", "files", "program", "reports", "runs", "stopping",
        "training",
    },
    "serving": {
        "exports", "files", "images", "inference.array_predictors", "inference.operations",
        "models", "program", "reports.model_card", "runs", "saliency",
    },
    "scoring": {"exports", "files", "images", "inference.operations", "stopping"},
    "demo": {
        "files", "images", "inference", "program", "reports", "serving.hosts", "serving.ports",
        "tfds_builders",
    },
}  # fmt: skip
OURS = ("keras_deep_emotion.", "tfds_builders")
# Without TensorFlow: they run on every backend, or answer before TensorFlow is imported.
WITHOUT_TENSORFLOW = (
    "config", "exports", "files", "layers", "models", "program", "runs", "stopping",
)  # fmt: skip
STANDARD_LIBRARY = (
    "config.py",
    "exports.py",
    "files.py",
    "program.py",
    "stopping.py",
    "data/catalog.py",
    "data/task.py",
)
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
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__", "cli"}
    assert rooms == set(ALLOWED)


def test_few_modules_lie_beside_the_folders():
    assert len(list(PACKAGE.glob("*.py"))) <= 8


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


# What writes files, by its name; and what a call is to write into instead of a file's own path.
WRITERS = {
    "save", "savefig", "savez", "savez_compressed", "to_csv", "to_parquet",
    "write_bytes", "write_text", "TFRecordWriter", "imwrite",
}  # fmt: skip
SAFE = {"atomic_write", "BytesIO", "StringIO"}
# Files that are written by another way, and why.
OTHER_WAYS = {
    "keras_deep_emotion/scoring/storage.py",  # renames too, and writes to URLs
    "keras_deep_emotion/serving/export.py",  # into a temporary folder, renamed as a whole
    "keras_deep_emotion/serving/warmup.py",  # into the same
    "tfds_builders/sources.py",  # damaged.txt: line by line, so that it tells of a killed build
}


def name_called(call):
    """The last name of what a node calls; None if it is no call."""
    function = getattr(call, "func", None)
    return getattr(function, "attr", getattr(function, "id", None))


def writes_a_file(call):
    """Whether a call writes a file, or opens one to write."""
    name = name_called(call)
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    if name == "open":
        modes = [str(one.value) for one in arguments if isinstance(one, ast.Constant)]
        return any(re.fullmatch("[rwaxbt+]{1,3}", mode) and mode[0] in "wax" for mode in modes)
    is_in_memory = name == "to_parquet" and not call.args
    is_ours = name == "write_text" and isinstance(call.func, ast.Name)  # `files.write_text`
    return name in WRITERS and not is_in_memory and not is_ours


def written_in_place(tree):
    """Lines of a module that write into something else than what `SAFE` and its files gave."""
    safe = set()
    for node in ast.walk(tree):  # from the outside in
        names, values = [], []
        if isinstance(node, ast.With):
            names = [item.optional_vars for item in node.items]
            values = [item.context_expr for item in node.items]
        elif isinstance(node, ast.Assign):
            names, values = node.targets, [node.value]
        for name, value in zip(names, values, strict=False):
            is_opened = name_called(value) == "open" and used(value) & safe
            if name is not None and (name_called(value) in SAFE or is_opened):
                safe |= used(name)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if writes_a_file(call) and not used(call) & safe]


def used(node):
    """The names of variables in a node."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def test_every_file_is_written_whole_or_not_at_all():
    found = {
        str(path.relative_to(ROOT)): written_in_place(ast.parse(path.read_text()))
        for folder in ("keras_deep_emotion", "tfds_builders")
        for path in (ROOT / folder).rglob("*.py")
        if path != PACKAGE / "files.py"
    }
    assert {path: lines for path, lines in found.items() if lines and path not in OTHER_WAYS} == {}
    assert {path for path in OTHER_WAYS if not found[path]} == set()  # no longer needed


@pytest.mark.parametrize(
    ("code", "is_refused"),
    [
        ("figure.savefig(path)", True),
        ("with open(path, 'w') as file: file.write(text)", True),
        ("with path.open(mode='ab') as file: pass", True),
        ("def one(aside):\n with atomic_write(path) as temporary: aside.write_text('')", True),
        ("with atomic_write(path) as temporary: table.to_csv(temporary)", False),
        ("with atomic_write(path) as aside, open(aside, 'wb') as file: np.savez(file)", False),
        ("file = io.BytesIO()\nimage.save(file, format='PNG')", False),
        ("with open(path, 'rb') as file, path.open() as other: pass", False),
    ],
)
def test_what_the_rule_on_files_refuses(code, is_refused):
    assert bool(written_in_place(ast.parse(code))) is is_refused


def reads_text(call):
    """Whether a call reads or writes text in the encoding of the machine."""
    name = name_called(call)
    if name not in ("open", "read_text", "write_text", "TextIOWrapper", "TemporaryFile"):
        return False
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [one.value for one in values if isinstance(one, ast.Constant)]
    modes = [mode for mode in modes if re.fullmatch("[rwax][bt+]*", str(mode))]
    if name == "open":  # `Image.open` and the like have no mode
        return not any("b" in mode for mode in modes) if modes else isinstance(call.func, ast.Name)
    if name == "TemporaryFile":
        return any("b" not in mode for mode in modes)
    # `files.write_text` and `files.read_text`.
    is_ours = name in ("read_text", "write_text") and isinstance(call.func, ast.Name)
    return not is_ours and not (name == "TextIOWrapper" and len(call.args) > 1)


def test_text_is_utf8_whatever_the_machine_prefers():
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "docs").glob("*.py")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and reads_text(node)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("code", "is_refused"),
    [
        ("open(path)", True),
        ("path.open('w')", True),
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("tempfile.TemporaryFile('w+')", True),
        ("open(path, 'rb')", False),
        ("open(path, encoding='utf-8')", False),
        ("path.read_text(encoding='utf-8')", False),
        ("Image.open(path)", False),
        ("write_text(path, text)", False),
    ],
)
def test_what_the_rule_on_text_refuses(code, is_refused):
    assert reads_text(ast.parse(code).body[0].value) is is_refused


def test_nothing_imports_the_command_line():
    for path in PACKAGE.rglob("*.py"):
        if room_of(path) not in ("__main__", "cli"):
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
def test_builders_import_only_what_a_picture_is(path):
    anywhere, _ = imports(path)
    ours = {name for name in anywhere if name.startswith("keras_deep_emotion")}
    modules = ("finding", "formats", "reading")
    allowed = tuple(f"keras_deep_emotion.images.{module}." for module in modules)
    assert not {name for name in ours if not name.startswith(allowed)}


def test_the_picture_of_the_architecture_is_that_of_the_code():
    import runpy

    drawn = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))["draw"]()
    assert drawn == (ROOT / "docs" / "architecture.svg").read_text(), "run: make docs"
