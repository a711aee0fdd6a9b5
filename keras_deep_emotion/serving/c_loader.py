"""TensorFlow's C loader, which opens a SavedModel as TensorFlow Serving does, through ctypes.

`tf.saved_model.load` accepts exports that the server refuses ("Could not find variable"), so it
proves nothing. TensorFlow is not imported, so that the library of any wheel can be used. Functions
and structs: tensorflow/c/c_api.h, tf_tstring.h; types: types.proto.
"""

import contextlib
import ctypes
import importlib.util
import os
import pickle  # between this module and itself, as multiprocessing uses it
import subprocess
import sys
import tempfile
import time
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_deep_emotion.files import plain_path

# NumPy's types by DataType; strings are object arrays of bytes.
DTYPES = {1: "float32", 3: "int32", 4: "uint8", 7: "object", 9: "int64", 10: "bool"}
TYPE_NUMBERS = {np.dtype(name): number for number, name in DTYPES.items()}
TSTRING_BYTES = 24


class Buffer(Structure):
    """TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("free", c_void_p)]

    def __bytes__(self) -> bytes:
        return ctypes.string_at(self.data, self.length)


class Output(Structure):
    """TF_Output: one output of an operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


# Result and arguments of each function.
FUNCTIONS = {
    "TF_Version": (c_char_p,),
    "TF_GetAllOpList": (POINTER(Buffer),),
    "TF_DeleteBuffer": (None, c_void_p),
    "TF_NewStatus": (c_void_p,),
    "TF_GetCode": (c_int, c_void_p),
    "TF_Message": (c_char_p, c_void_p),
    "TF_NewGraph": (c_void_p,),
    "TF_GraphOperationByName": (c_void_p, c_void_p, c_char_p),
    "TF_NewSessionOptions": (c_void_p,),
    "TF_LoadSessionFromSavedModel": (
        c_void_p, c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p,
        POINTER(Buffer), c_void_p,
    ),
    "TF_SessionRun": (
        None, c_void_p, c_void_p, POINTER(Output), POINTER(c_void_p), c_int, POINTER(Output),
        POINTER(c_void_p), c_int, c_void_p, c_int, c_void_p, c_void_p,
    ),
    "TF_AllocateTensor": (c_void_p, c_int, POINTER(c_int64), c_int, c_size_t),
    "TF_DeleteTensor": (None, c_void_p),
    "TF_TensorType": (c_int, c_void_p),
    "TF_NumDims": (c_int, c_void_p),
    "TF_Dim": (c_int64, c_void_p, c_int),
    "TF_TensorByteSize": (c_size_t, c_void_p),
    "TF_TensorData": (c_void_p, c_void_p),
    "TF_StringInit": (None, c_void_p),
    "TF_StringCopy": (None, c_void_p, c_char_p, c_size_t),
    "TF_StringGetDataPointer": (c_void_p, c_void_p),
    "TF_StringGetSize": (c_size_t, c_void_p),
    "TF_StringDealloc": (None, c_void_p),
}  # fmt: skip


def find_library(path: str | Path | None = None) -> Path:
    """The path of libtensorflow_cc: itself, in a folder, or in the installed TensorFlow if None."""
    path = Path(path or importlib.util.find_spec("tensorflow").submodule_search_locations[0])
    if path.is_dir():
        pattern = "*tensorflow_cc.[sd2]*"  # .so.2, .dll or .2.dylib
        library = next(path.glob(pattern), None) or next(path.rglob(pattern), None)
        if library is None:
            raise FileNotFoundError(
                f"{path} contains no libtensorflow_cc. Name an unpacked TensorFlow wheel."
            )
        return library
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Name libtensorflow_cc or its folder.")
    return path


class Session:
    """A SavedModel, opened by the C loader in this process; ValueError if that fails.

    Its attributes are the library's TensorFlow `version`, and, serialized, the SavedModel's
    `meta_graph` (MetaGraphDef) and the library's `operations` (OpList).
    """

    def __init__(self, export: str | Path, library: str | Path | None = None):
        path = find_library(library).resolve()  # the loader searches the system for a bare name
        try:
            self.library = ctypes.CDLL(str(path))
        except OSError as error:
            raise ValueError(f"{path} cannot be loaded as a library: {error}.") from None
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        self.version = self.library.TF_Version().decode()
        operations = self.library.TF_GetAllOpList()
        self.operations = bytes(operations.contents)
        self.library.TF_DeleteBuffer(operations)
        self.status, self.graph = self.library.TF_NewStatus(), self.library.TF_NewGraph()
        options, tags, meta_graph = self.library.TF_NewSessionOptions(), [b"serve"], Buffer()
        with plain_path(export) as path:
            self.session = self.library.TF_LoadSessionFromSavedModel(
                options, None, os.fsencode(path), (c_char_p * len(tags))(*tags), len(tags),
                self.graph, byref(meta_graph), self.status,
            )  # fmt: skip
        self._raise_error(f"{export} cannot be loaded: ")
        self.meta_graph = bytes(meta_graph)

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str]) -> dict[str, np.ndarray]:
        """Run the graph on arrays by tensor name, such as `serving_default_image:0`.

        Strings are object arrays of bytes. Returns an array for each name in `fetches`; raises
        ValueError if the graph fails.
        """
        inputs = (Output * len(feeds))(*map(self._output, feeds))
        values = (c_void_p * len(feeds))(*map(self._to_tensor, feeds.values()))
        outputs = (Output * len(fetches))(*map(self._output, fetches))
        results = (c_void_p * len(fetches))()
        self.library.TF_SessionRun(
            self.session, None, inputs, values, len(feeds), outputs, results, len(fetches), None, 0,
            None, self.status,
        )  # fmt: skip
        for value, array in zip(values, feeds.values(), strict=True):
            if array.dtype == object:
                for item in string_addresses(self.library.TF_TensorData(value), array.size):
                    self.library.TF_StringDealloc(item)
            self.library.TF_DeleteTensor(value)
        self._raise_error()
        arrays = dict(zip(fetches, map(self._to_array, results), strict=True))
        for result in results:
            self.library.TF_DeleteTensor(result)
        return arrays

    def _raise_error(self, prefix: str = "") -> None:
        """Raise ValueError if the last call failed."""
        if self.library.TF_GetCode(self.status):
            raise ValueError(prefix + self.library.TF_Message(self.status).decode(errors="replace"))

    def _output(self, tensor: str) -> Output:
        name, _, index = tensor.partition(":")
        operation = self.library.TF_GraphOperationByName(self.graph, name.encode())
        return Output(operation, int(index or 0))

    def _to_tensor(self, array: np.ndarray) -> int:
        """Copy an array into a new TF_Tensor."""
        size = array.size * TSTRING_BYTES if array.dtype == object else array.nbytes
        shape = (c_int64 * array.ndim)(*array.shape)
        tensor = self.library.TF_AllocateTensor(TYPE_NUMBERS[array.dtype], shape, array.ndim, size)
        data = self.library.TF_TensorData(tensor)
        if array.dtype != object:
            ctypes.memmove(data, array.tobytes(), size)
            return tensor
        for item, value in zip(string_addresses(data, array.size), array.ravel(), strict=True):
            self.library.TF_StringInit(item)
            self.library.TF_StringCopy(item, value, len(value))
        return tensor

    def _to_array(self, tensor: int) -> np.ndarray:
        """Copy a TF_Tensor into a new array."""
        shape = [self.library.TF_Dim(tensor, i) for i in range(self.library.TF_NumDims(tensor))]
        data = self.library.TF_TensorData(tensor)
        dtype = DTYPES[self.library.TF_TensorType(tensor)]
        if dtype != "object":
            content = ctypes.string_at(data, self.library.TF_TensorByteSize(tensor))
            return np.frombuffer(content, dtype).reshape(shape)
        start, size = self.library.TF_StringGetDataPointer, self.library.TF_StringGetSize
        items = string_addresses(data, int(np.prod(shape)))
        strings = [ctypes.string_at(start(item), size(item)) for item in items]
        return np.array(strings, object).reshape(shape)


def string_addresses(data: int, count: int) -> range:
    """Addresses of the TF_TStrings in a tensor's data."""
    return range(data, data + count * TSTRING_BYTES, TSTRING_BYTES)


class ChildSession:
    """A `Session` in a child process: a crash of the library becomes a ValueError.

    The child starts at once; entering the context waits until it has opened the SavedModel, which
    took `seconds`. It ends after an error.
    """

    def __init__(self, export: str | Path, library: str | Path | None = None):
        library = find_library(library)
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            # -P: a numpy.py in the current folder is not NumPy.
            [sys.executable, "-P", "-m", __name__, str(export), str(library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path},
        )

    def __enter__(self) -> "ChildSession":
        try:
            self.version, self.meta_graph, self.operations, self.seconds = self._receive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error) -> None:
        with self.log, contextlib.suppress(BrokenPipeError), self.process:
            pass  # closes the pipes, which ends the child

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str]) -> dict[str, np.ndarray]:
        """As `Session.run`."""
        with contextlib.suppress(BrokenPipeError):  # `_receive` reports how the child ended
            send(self.process.stdin, (feeds, fetches))
        return self._receive()

    def _receive(self) -> Any:
        """The child's next reply."""
        try:
            reply = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):  # partial
            status = self.process.wait()
            self.log.seek(0)
            last_line = self.log.read().strip().rpartition("\n")[2]
            raise ValueError(f"The C loader ended with status {status}: {last_line}") from None
        if isinstance(reply, ValueError):
            raise reply
        return reply


def send(stream: BinaryIO, message: Any) -> None:
    """Write a message; `pickle.load` reads it."""
    pickle.dump(message, stream)
    stream.flush()


def main(export: str, library: str) -> None:
    """Child of `ChildSession`: open the SavedModel, then run requests until the input ends."""
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)  # keep TensorFlow's output apart from the replies
        try:
            start = time.perf_counter()
            session = Session(export, library)
            seconds = time.perf_counter() - start
            send(replies, (session.version, session.meta_graph, session.operations, seconds))
            while True:
                send(replies, session.run(*pickle.load(sys.stdin.buffer)))
        except ValueError as error:
            send(replies, error)
        except EOFError:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
