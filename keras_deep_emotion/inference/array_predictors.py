"""Predict with LiteRT or ONNX Runtime, from one file: no TensorFlow is imported.

LiteRT (the package ai-edge-litert) is TensorFlow Lite's successor. The files hold the labels, see
`serving.edge`.
"""

import functools
import importlib.util
import json
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_deep_emotion.exports import LITERT_ABOUT, LITERT_LABELS
from keras_deep_emotion.files import parse_labels, quiet_stderr
from keras_deep_emotion.inference.predictor import Predictor, in_batches

BATCH = 8  # faces; larger ones take longer a face
THREADS = 2
MOST_MEMORY = 900 * 2**20  # ours, bytes: of all ONNX models of a process, whatever their files say
PACKAGES = {  # of each runtime
    "litert": "ai_edge_litert",
    "onnx": "onnxruntime",
    "keras": "tensorflow",
    "saved_model": "tensorflow",
}


def is_installed(runtime: str) -> bool:
    """Whether the package of a runtime is installed."""
    return importlib.util.find_spec(PACKAGES[runtime]) is not None


class ArrayPredictor(Predictor):
    """What the two share; `_compute` is of each."""

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of (batch, size, size, 1) float32 grey levels 0..255."""
        return in_batches(self._compute, images, BATCH)

    def _predict(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """See `Predictor`."""
        return self.classify(np.stack(faces))


class LiteRTPredictor(ArrayPredictor):
    """A LiteRT model, from its .tflite file; ValueError is raised if it is not one of ours."""

    runtime = "litert"

    def __init__(self, path: str | Path):
        from ai_edge_litert.interpreter import Interpreter

        self._lock = threading.Lock()  # tensors belong to the interpreter
        try:
            with zipfile.ZipFile(path) as appended:
                labels = parse_labels(appended.read(LITERT_LABELS).decode(), path)
                about = json.loads(appended.read(LITERT_ABOUT))
            with quiet_stderr():  # it tells of its delegate
                interpreter = Interpreter(str(path), num_threads=THREADS)
                self._run = interpreter.get_signature_runner("serving_default")
                self._attend = None
                if "attend" in interpreter.get_signature_list():
                    self._attend = interpreter.get_signature_runner("attend")
                size = int(self._run.get_input_details()["image"]["shape"][1])
                check_classes(self.classify(np.zeros((1, size, size, 1), np.float32)), labels)
            super().__init__(path, labels, size, about)
        except Exception as error:  # of any type: ZIP, zlib, LiteRT, shapes
            raise unknown_file(path, "litert", error) from None

    def _compute(self, images):
        with self._lock:
            return self._run(image=images)["probabilities"].copy()

    def attend(self, faces) -> tuple[np.ndarray | None, np.ndarray | None]:
        """See `Predictor`."""
        if self._attend is None:
            return None, None
        with self._lock:
            outputs = self._attend(image=np.stack(faces))
            return outputs["theta"].copy(), outputs["attended"].copy()


class ONNXPredictor(ArrayPredictor):
    """An ONNX model, from its file; ValueError is raised if it is not one of ours."""

    runtime = "onnx"

    def __init__(self, path: str | Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        bound_onnx_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
            labels = parse_labels(metadata["labels"], path)
            size = int(self._session.get_inputs()[0].shape[1])
            check_classes(self.classify(np.zeros((1, size, size, 1), np.float32)), labels)
            super().__init__(path, labels, size, json.loads(metadata["about"]))
        except Exception as error:  # ONNX Runtime has many types, all without a public base
            raise unknown_file(path, "onnx", error) from None

    def _compute(self, images):
        return self._session.run(["probabilities"], {"image": images})[0]


@functools.cache
def bound_onnx_memory() -> None:
    """Let sessions that use the environment's allocator take `MOST_MEMORY` at most, together."""
    import onnxruntime

    onnxruntime.create_and_register_allocator(
        onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0,
            onnxruntime.OrtMemType.DEFAULT,
        ),
        onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY, "arena_extend_strategy": 1}),
    )  # fmt: skip


def check_classes(probabilities: np.ndarray, labels: list[str]) -> None:
    """Raise ValueError if a model does not give a probability for each label."""
    if probabilities.shape != (1, len(labels)):
        raise ValueError(f"{len(labels)} labels, and outputs {probabilities.shape}")


def unknown_file(path: str | Path, format: str, error: Exception) -> Exception:
    """Error for a file that is not such a model of this package, or `error` if it is unreadable."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return ValueError(
        f"{path} is damaged, or not a model of this package: `keras-deep-emotion export RUN "
        f"--format {format}` makes one."
    )
