"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_deep_emotion"
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_the_main_entry_points_have_examples():
    sources = {name: importlib.import_module(name) for name in MODULES}
    examples = {
        test.name
        for module in sources.values()
        for test in doctest.DocTestFinder().find(module)
        if test.examples
    }
    names = (
        "loading.load",
        "Predictor.predict",
        "Predictor.explain",
        "Predictor.analyze",
        "SpatialTransformer",
    )
    assert all(any(one.endswith(name) for one in examples) for name in names)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
