"""README and guides show the program as it is: commands, options, links and code that exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.runs import SHIPPED, Run, shipped_weights

ROOT = Path(__file__).parents[2]
PLACES = (
    "README.md",
    "exports/README.md",
    "docs/*.md",
    "docs/guides/*.md",
    "tfds_builders/*/README.md",
)
PAGES = [str(path.relative_to(ROOT)) for place in PLACES for path in sorted(ROOT.glob(place))]


def commands(page):
    text = (ROOT / page).read_text().replace("\\\n", " ")
    return re.findall(r"python cli\.py ([a-z][^\n`|]*)", text)


def test_readme_shows_the_users_own_examples():
    shown = commands("README.md")
    for example in ("build-data jaffe", "fit --dataset ck_plus"):
        assert any(line.startswith(example) for line in shown)


@pytest.mark.parametrize(
    ("page", "line"), [(page, line) for page in PAGES for line in commands(page)]
)
def test_a_command_that_is_shown_exists(page, line):
    # Placeholders such as RUN or DIR_OR_ARCHIVE parse as any path does.
    name, *arguments = shlex.split(line.split("#")[0].replace("[", "").replace("]", ""))
    command = main.commands[name]
    try:
        command.make_context(name, arguments)
    except click.exceptions.Exit:
        pass  # --help


def test_make_targets_that_are_shown_exist():
    targets = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()))
    makefile = (ROOT / "Makefile").read_text()
    assert "quickstart" in targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_local_links_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            if target.startswith("http"):
                continue
            place = folder / target if target else ROOT / page
            assert place.exists(), f"{page}: {target}"
            assert not anchor or anchor in anchors(place), f"{page}: {target}#{anchor}"


def anchors(page):
    """The names of a page's headings in links, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 900


def code_blocks(path, section):
    """The Python in a section of a page."""
    text = re.split(rf"^#+ {section}$", path.read_text(), flags=re.MULTILINE)[1]
    return re.findall(
        r"```python\n(.*?)```", re.split(r"^#", text, flags=re.MULTILINE)[0], re.DOTALL
    )


def run_code(code, folder, backend):
    """Run code in a fresh process in a folder."""
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with RUN and exports/NAME in every format, of shipped weights."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copytree(SHIPPED / "ferplus-paper", folder / "RUN")
    options = ["--name", "NAME", "--exports", str(folder / "exports"), "--data-dir", str(folder)]
    for one in ("saved_model", "litert", "onnx"):
        options += ["--format", one]
    done = CliRunner().invoke(main, ["export", str(folder / "RUN"), *options])
    assert done.exit_code == 0, done.output
    image = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1)).astype(np.float32)
    np.save(folder / "image.npy", image)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_files_open_as_the_readme_says(number, files):
    blocks = code_blocks(ROOT / "docs/guides/serve.md", "Files without `load`")
    assert len(blocks) == 4
    for backend in ("jax", "tensorflow") if "import keras\n" in blocks[number] else ("jax",):
        code = f"import numpy as np\nimage = np.load('image.npy')\n{blocks[number]}"
        run_code(f"{code}\nnp.save('found.npy', probabilities)", files, backend)
        image, found = np.load(files / "image.npy"), np.load(files / "found.npy")
        expected = load(files / "RUN", runtime="keras").predict(image)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_models_open_as_their_cards_say(backend, tmp_path):
    lines = ["import os"]
    for name in shipped_weights():
        (code,) = code_blocks(SHIPPED / name / Run.CARD, "Opening it")
        lines += [f"os.chdir({str(SHIPPED / name)!r})", code]
        lines.append("assert model.output.shape == (None, 7)")
    run_code("\n".join(lines), tmp_path, backend)
    alone = re.sub("import keras_deep_emotion.*", "", code)  # the remark is true
    with pytest.raises(AssertionError, match="Could not locate class"):
        run_code(alone, SHIPPED / name, backend)
