"""What all predictors share: the images that they take, photos, processes.

Each kind of model has a class of its own: `KerasPredictor` (a run), `SavedModelPredictor` (an
export), `LiteRTPredictor` (a .tflite file), `ONNXPredictor` and `ServerPredictor`.
"""

import abc
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_deep_emotion.files import check_schema
from keras_deep_emotion.images.faces import crop, shared_detector
from keras_deep_emotion.images.inputs import list_images, load_photo, load_pixels, naming
from keras_deep_emotion.images.preprocessing import prepare_face
from keras_deep_emotion.models.operating_point import rebalance
from keras_deep_emotion.saliency.windows import (
    DEFAULT_WINDOWS,
    SaliencyMaps,
    Windows,
    gather_windows,
    occlude_by_windows,
    window_starts,
)


class FaceAnalysis(NamedTuple):
    """A face in a photo and its emotion. Coordinates are pixels from the upper left corner.

    Attributes:
        box: (4,) x, y, width and height; it may extend beyond the photo.
        landmarks: (5, 2) x and y of the eyes, the tip of the nose and the corners of the mouth.
        emotion: The most probable class.
        probabilities: Probability of each class, by name.
        score: Confidence of the face detector, 0 to 1.
        turned: Degrees, clockwise, by which the photo was turned to find the face.
    """

    box: np.ndarray
    landmarks: np.ndarray
    emotion: str
    probabilities: dict[str, float]
    score: float
    turned: int


class Predictor(abc.ABC):
    """A model that is open. Each class implements `_predict`.

    Attributes:
        labels: Class names, in the order of the probabilities.
        size: Side of the network's images, pixels; None behind a server, which resizes them.
        runtime: What computes: "keras", "saved_model", "litert", "onnx" or "server".
        network: The `keras.Model` of a run; None for others, whose layers cannot be read.
        dataset: Name of the data set that it was trained on; None if it is not known.
        balance: Operating point of the probabilities, see `set_balance`; None if it is not known.
    """

    runtime = ""
    network = None

    def __init__(
        self, source: Any, labels: list[str], size: int | None, about: dict[str, Any] | None = None
    ):
        self.source, self.labels, self.size = source, labels, size
        about = about or {}
        self.dataset = str(about["dataset"]) if "dataset" in about else None
        point = about.get("operating_point")
        self._prior, self._own_balance = read_operating_point(point, labels)
        self.balance = self._own_balance
        self._process = os.getpid()

    def __repr__(self) -> str:
        side = "" if self.size is None else f", {self.size} x {self.size} pixels"
        return f"<{type(self).__name__} of {self.source}: {len(self.labels)} emotions{side}>"

    def __reduce__(self):
        return _reopen, (type(self), self.source, self.balance)

    def prepare(self, image: Any, name: str = "image", channels: str = "rgb") -> Any:
        """One image as the model takes it: (size, size, 1) float32 grey levels 0..255.

        Arguments and errors are those of `images.load_pixels`.
        """
        return prepare_face(load_pixels(image, name, channels), self.size)

    @abc.abstractmethod
    def _predict(self, faces: Sequence) -> np.ndarray:
        """As `predict_prepared`, at the model's own operating point."""

    def predict_prepared(self, faces: Sequence) -> np.ndarray:
        """Probabilities of what `prepare` returned: (faces, classes) float32."""
        probabilities = self._predict(faces)
        if self.balance == self._own_balance:
            return probabilities
        return rebalance(probabilities, self._prior, self.balance - self._own_balance)

    def set_balance(self, balance: float) -> None:
        """Favour emotions that are rare in training: the operating point of all predictions.

        At 0 an emotion counts by its share of the training faces, at 1 all count alike: recall of
        rare emotions rises, accuracy falls. See `models.at_operating_point`.

        Raises:
            ValueError: If `balance` is not between 0 and 1, or the model does not know the shares.
        """
        if not 0 <= balance <= 1:
            raise ValueError(f"balance must be between 0 and 1. Received: {balance}")
        if self._prior is None:
            raise ValueError(
                f"{self.source} does not store the class frequencies of its training, which "
                "balance needs. Calibrate its run, keras-deep-emotion fit --resume RUN; then export"
                " it again."
            )
        self.balance = balance

    def attend(self, faces: Sequence) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Transforms (batch, 6) and transformed images (batch, size, size), grey levels 0..255.

        Of what `prepare` returned; both are None if the model does not tell.
        """
        return None, None

    def explain_prepared(self, faces: Sequence, windows: Windows) -> SaliencyMaps:
        """Saliency maps of what `prepare` returned, one or more."""
        images = np.stack(faces)
        return gather_windows(
            occlude_by_windows(self.predict_prepared, images, None, windows),
            images.shape[1],
            windows,
        )

    def _prepare_all(self, images, channels):
        if os.getpid() != self._process:
            raise RuntimeError(
                f"{self!r} was opened before this process was forked. Open the model in each "
                "process, or start processes with multiprocessing.set_start_method('spawn')."
            )
        names = [f"images[{index}]" for index in range(len(images))]
        prepared = []
        for image, name in zip(images, names, strict=True):
            with naming(image, name):
                prepared.append(self.prepare(image, name, channels))
        return prepared

    def predict(self, images: Any, channels: str = "rgb") -> np.ndarray:
        """Probabilities of cropped faces, (batch, classes) float32 in the order of `labels`.

        Args:
            images: One crop or a list of crops of any size, in any mixture: paths, bytes of image
                files, `PIL.Image`s, arrays or tensors (height, width) or (height, width, channels)
                of levels 0..255, integers or floats; or an array of four axes, whose first is the
                batch. One crop is a batch of one.
            channels: Order of the arrays' colours: "rgb", or "bgr" (OpenCV's).

        Raises:
            ValueError: If an image is not valid.

        Example:
        >>> import numpy as np
        >>> from keras_deep_emotion import load
        >>> load("ferplus").predict(np.zeros((2, 48, 48, 1))).shape
        (2, 7)
        """
        faces = self._prepare_all(list_images(images), channels)
        if not faces:
            return np.zeros((0, len(self.labels)), np.float32)
        return self.predict_prepared(faces)

    def explain(
        self,
        images: Any,
        window: int = DEFAULT_WINDOWS.window,
        stride: int = DEFAULT_WINDOWS.stride,
        filling: str = DEFAULT_WINDOWS.filling,
        channels: str = "rgb",
    ) -> SaliencyMaps:
        """Saliency maps of the predicted classes, see `saliency.occlusion_saliency`.

        Args:
            images: As `predict` takes them, one or more.
            window: Side of the hidden square, pixels of the network's input.
            stride: Step between windows, pixels, at most `window`.
            filling: What hidden pixels become: "zero" (black), "mean" or "blur".
            channels: As in `predict`.

        Returns:
            Arrays: probabilities (batch, classes) float32, class_id (batch,) int64, saliency
            (batch, size, size) float32, decisive (batch, size, size) bool.

        Raises:
            ValueError: If an argument is invalid.

        Example:
        >>> import numpy as np
        >>> from keras_deep_emotion import load
        >>> maps = load("ferplus").explain(np.zeros((1, 48, 48, 1)), window=24, stride=24)
        >>> maps.saliency.shape
        (1, 48, 48)
        """
        images = list_images(images)
        if not len(images):
            raise ValueError("images must hold one image or more. Received: none")
        if self.size is not None:
            window_starts(self.size, window, stride)
        windows = Windows(window, stride, filling)
        return self.explain_prepared(self._prepare_all(images, channels), windows)

    def analyze(
        self, photo: Any, smallest: float | None = None, channels: str = "rgb"
    ) -> list[FaceAnalysis]:
        """Find the faces in a photo and predict their emotions; the largest face comes first.

        Needs the extra `faces`.

        Args:
            photo: A path, bytes of an image file, a `PIL.Image`, or an array (height, width) or
                (height, width, channels) of levels 0..255. It is turned upright by its EXIF data.
            smallest: Side of the smallest face to find, pixels; None for 1/98 of the longer
                side, at least 13.
            channels: Order of an array's colours, "rgb" or "bgr".

        Raises:
            ValueError: If the photo is not valid.
            ModuleNotFoundError: If the extra is not installed.

        Example:
        >>> import numpy as np
        >>> from keras_deep_emotion import load
        >>> load("ferplus").analyze(np.zeros((480, 640, 3), np.uint8))  # a black photo
        []
        """
        with naming(photo, "photo"):
            image = load_photo(photo, channels)
        faces = shared_detector().find(image, smallest)
        rows = self.predict([crop(image, face) for face in faces])
        return [
            FaceAnalysis(
                face.box,
                face.landmarks,
                self.labels[row.argmax()],
                dict(zip(self.labels, map(float, row), strict=True)),
                face.score,
                face.turned,
            )
            for face, row in zip(faces, rows, strict=True)
        ]


def read_operating_point(
    point: dict | None, labels: list[str]
) -> tuple[np.ndarray | None, float | None]:
    """Prior (classes,) and balance from what a run or a file of a model tells; None if nothing."""
    if point is None:
        return None, None
    check_schema(point, {"prior": dict.fromkeys(labels, float), "balance": float})
    prior = np.array([point["prior"][label] for label in labels])
    if prior.min() <= 0:
        raise ValueError("the share of an emotion in training is not above 0")
    return prior, point["balance"]


def _reopen(kind, source, balance):
    model = kind(source)
    if balance != model.balance:
        model.set_balance(balance)
    return model


def in_batches(predict: Callable[[Any], Any], inputs: Any, size: int) -> np.ndarray:
    """Apply a function to batches of inputs and join its outputs, (count, classes) float32."""
    starts = range(0, len(inputs), size)
    batches = [np.asarray(predict(inputs[start : start + size]), np.float32) for start in starts]
    return np.concatenate(batches)
