"""README shows the program as it is: each `cli.py` line names a command and options that exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from keras_deep_emotion.cli import main

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "exports/README.md", *(
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "tfds_builders").glob("*/README.md"))
)]  # fmt: skip


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
    assert {"quickstart", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_local_links_lead_somewhere():
    for page in PAGES:
        folder = (ROOT / page).parent
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert target.startswith("http") or (folder / target).exists(), f"{page}: {target}"
