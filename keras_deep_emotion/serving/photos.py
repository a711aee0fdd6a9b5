"""What the signature `photo_bytes` needs: the detector's layers, and photos to verify it with."""

import contextlib
import importlib.util
import io

import keras
import numpy as np
from PIL import Image

from keras_deep_emotion.images.faces import Detector, crop, find_weights
from keras_deep_emotion.images.preprocessing import prepare_face
from keras_deep_emotion.images.reading import decode_photo
from keras_deep_emotion.models.yunet import build_yunet
from keras_deep_emotion.program import install_command
from keras_deep_emotion.serving.contract import MOST_FACES


def missing_packages() -> str | None:
    """Why an export has no `photo_bytes`, a sentence; None if it has."""
    with contextlib.suppress(ModuleNotFoundError):
        find_weights()
        if importlib.util.find_spec("onnx") is not None:
            return None
    return (
        "The export has no signature photo_bytes, which needs more packages: "
        f"{install_command('faces', 'onnx')}"
    )


def load_detector() -> keras.Model | None:
    """The face detector as layers; None if its packages are not installed."""
    return None if missing_packages() else build_yunet(find_weights())


def example_photos() -> list[bytes]:
    """Files: a photo of a person, the same on its side, and one without a face."""
    import matplotlib.cbook

    # The US Navy's photo of Grace Hopper, in the public domain, comes with Matplotlib.
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with open(path, "rb") as file:
        photo = file.read()
    turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    files = [photo]
    for image in (turned, Image.new("RGB", (96, 64), (120, 130, 140))):
        content = io.BytesIO()
        image.save(content, "JPEG", quality=95)
        files.append(content.getvalue())
    return files


def expected_photo_outputs(model: keras.Model) -> dict[str, np.ndarray]:
    """Outputs for `example_photos` of OpenCV's detector and a Keras model, padded with zeros."""
    files, detector = example_photos(), Detector()
    outputs = {
        "faces": np.zeros(len(files), np.int32),
        "boxes": np.zeros((len(files), MOST_FACES, 4), np.float32),
        "landmarks": np.zeros((len(files), MOST_FACES, 5, 2), np.float32),
        "probabilities": np.zeros((len(files), MOST_FACES, model.output.shape[1]), np.float32),
    }
    for i, file in enumerate(files):
        photo = decode_photo(file)
        for j, face in enumerate(detector.find(photo)[:MOST_FACES]):
            image = prepare_face(np.asarray(crop(photo, face)), model.input.shape[1])
            outputs["faces"][i] += 1
            outputs["boxes"][i, j], outputs["landmarks"][i, j] = face.box, face.landmarks
            outputs["probabilities"][i, j] = model.predict_on_batch(image[None])[0]
    return {"photo_files": np.array(files), **{f"photo_{key}": outputs[key] for key in outputs}}
