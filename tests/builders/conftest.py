"""What the tests of the builders share."""

import numpy as np
import pytest
from ck_plus_trees import Drawn
from native_files import write


@pytest.fixture
def source(tmp_path):
    """An empty folder."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture(scope="session")
def drawn():
    """CK+, drawn small."""
    return Drawn()


@pytest.fixture(scope="session")
def native_trees(drawn, tmp_path_factory):
    """Its three trees, unpacked, for tests that change nothing in them."""
    folder = tmp_path_factory.mktemp("native")
    write(folder, {**drawn.images, **drawn.labels, **drawn.landmarks})
    return folder


@pytest.fixture
def native_copy(source, drawn):
    """The same, to be changed."""
    write(source, {**drawn.images, **drawn.labels, **drawn.landmarks})
    return source


@pytest.fixture
def pixels():
    """Twelve faces of FER-2013; the last of validation and the last of test repeat the first."""
    images = np.random.default_rng(0).integers(0, 256, (12, 48, 48)).astype(np.uint8)
    images[8] = images[11] = images[0]
    return images
