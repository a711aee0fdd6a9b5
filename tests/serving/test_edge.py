"""LiteRT models: they are what the Keras model makes of itself."""

import numpy as np
import pytest

from keras_deep_emotion.inference.litert import LiteRTPredictor
from keras_deep_emotion.runs import Run
from keras_deep_emotion.serving.edge import write_litert


@pytest.fixture(scope="module")
def model(run_dir):
    return Run(run_dir).load_model()


@pytest.mark.parametrize(
    ("quantize", "difference"), [("none", 1e-5), ("float16", 0.02), ("dynamic", 0.3)]
)
def test_answers_are_those_of_keras(run_dir, model, quantize, difference, tmp_path):
    run = Run(tmp_path)
    run.write_config(Run(run_dir).config)
    run.write_labels(Run(run_dir).labels)
    write_litert(model, run / Run.LITERT, quantize)
    faces = np.random.default_rng(0).uniform(0, 255, (20, 48, 48, 1)).astype(np.float32)
    got = LiteRTPredictor(run).predict(faces)
    np.testing.assert_allclose(got, model.predict_on_batch(faces), atol=difference)


def test_other_quantizations_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="quantize must be one of none, float16, dynamic. Rec"):
        write_litert(model, tmp_path / "a.tflite", "int4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ferplus", "ferplus-paper"])
def test_the_shipped_litert_models_are_made_of_the_shipped_keras_models(name, tmp_path):
    shipped = Run.shipped(name)
    write_litert(shipped.load_model(), tmp_path / "a.tflite", shipped.report["litert"]["quantize"])
    size = (shipped / Run.LITERT).stat().st_size
    assert size == shipped.report["litert"]["bytes"]
    run = Run(tmp_path)
    run.write_labels(shipped.labels)
    (tmp_path / "a.tflite").rename(run / Run.LITERT)
    faces = np.random.default_rng(0).uniform(0, 255, (50, 48, 48, 1)).astype(np.float32)
    again, ours = LiteRTPredictor(run).predict(faces), LiteRTPredictor(shipped).predict(faces)
    np.testing.assert_allclose(again, ours, atol=1e-5)
