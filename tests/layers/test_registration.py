"""Models open by Keras alone, whichever is imported first and whatever path they name."""

import subprocess
import sys
import zipfile

import pytest

from keras_deep_emotion.runs import Run, shipped_weights

OPEN = """
import sys
for path in sys.argv[1:]:
    print(keras.saving.load_model(path, compile=False).name)
"""


def opened(imports, *paths):
    """Names of models that a fresh process opens after some imports."""
    process = subprocess.run(
        [sys.executable, "-c", imports + OPEN, *map(str, paths)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout.split()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The shipped models, and one as it was saved before the layers moved."""
    paths = [Run.shipped(name) / Run.MODEL for name in shipped_weights()]
    old = tmp_path_factory.mktemp("old") / "model.keras"
    with zipfile.ZipFile(paths[-1]) as archive, zipfile.ZipFile(old, "w") as copy:
        for item in archive.infolist():
            content = archive.read(item)
            if item.filename == "config.json":
                assert b"keras_deep_emotion.layers.spatial_transformer" in content
                content = content.replace(b"keras_deep_emotion.layers.", b"keras_deep_emotion.")
            copy.writestr(item, content)
    return [*paths, old]


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_deep_emotion\nimport keras",
        "import keras\nimport keras_deep_emotion",
    ],
)
def test_models_open_after_importing_the_package(imports, models):
    assert opened(imports, *models) == ["deep_emotion"] * len(models)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import keras_deep_emotion, sys; print({'keras', 'numpy', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
