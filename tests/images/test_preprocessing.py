"""Pixels are the same on every road: Pillow and NumPy, or TensorFlow's graphs."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from keras_deep_emotion.images import graph, preprocessing
from keras_deep_emotion.images.inputs import load_pixels


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_numpy_resizes_as_the_graph_does(channels):
    random = np.random.default_rng(channels)
    sides = [1, 2, 5, 24, 47, 48, 49, 97, 240, 1000, *random.integers(1, 600, 20)]
    for height, width in zip(sides, random.permutation(sides), strict=True):
        image = random.integers(0, 256, (height, width, channels)).astype(np.uint8)
        expected = graph.prepare_face(image, 48).numpy()
        got = preprocessing.prepare_face(image, 48)
        assert (got.shape, got.dtype) == ((48, 48, 1), np.float32)
        np.testing.assert_allclose(got, expected, atol=2e-3)


def test_levels_stay_in_their_range():
    white = np.full((77, 301, 3), 255, np.uint8)
    for module in (graph, preprocessing):
        face = np.asarray(module.prepare_face(white, 48))
        assert face.min() > 254.99 and face.max() <= 255
    grey = np.random.default_rng(0).integers(0, 256, (48, 48, 1)).astype(np.uint8)
    np.testing.assert_array_equal(preprocessing.prepare_face(grey, 48), grey)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpegs_are_decoded_alike(mode, progressive, subsampling):
    file = io.BytesIO()
    photo = Image.fromarray(data.astronaut()).crop((100, 0, 331, 257)).convert(mode)
    options = {} if mode == "L" else {"subsampling": subsampling}
    photo.save(file, "JPEG", quality=95, progressive=progressive, **options)
    pixels = load_pixels(file.getvalue())
    pixels = np.broadcast_to(pixels, (257, 231, 3))  # grey files are not tripled here
    np.testing.assert_array_equal(graph.decode_image(file.getvalue()), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pngs_are_decoded_alike(mode):
    file, photo = io.BytesIO(), Image.fromarray(data.astronaut())
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    else:
        photo = photo.convert(mode)
    photo.save(file, "PNG")
    pixels = np.broadcast_to(load_pixels(file.getvalue()), (512, 512, 3))
    np.testing.assert_array_equal(graph.decode_image(file.getvalue()), pixels)
