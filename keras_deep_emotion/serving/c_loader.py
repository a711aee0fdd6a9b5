"""TensorFlow's C loader by ctypes: opens a SavedModel as the C++ server does, without TensorFlow.

`tf.saved_model.load` accepts exports that the server refuses ("Could not find variable"), so it
proves nothing. Here ctypes calls the library inside a TensorFlow wheel, the installed one or any
other; TensorFlow's Python is never imported. Function and struct layouts: tensorflow/c/c_api.h,
tf_tstring.h; message fields: meta_graph.proto, tensor_shape.proto, types.proto.
"""

import ctypes
import importlib.util
import os
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import NamedTuple

import numpy as np

STRING = 7  # DT_STRING


DTYPES = {1: np.float32, 3: np.int32, 4: np.uint8, 9: np.int64, 10: np.bool_}


TSTRING_BYTES = 24


class Buffer(Structure):
    """TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("free", c_void_p)]


class Output(Structure):
    """TF_Output: one result of one operation."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


def find_library():
    """Path of the TensorFlow wheel's C library, without importing TensorFlow.

    Raises:
        FileNotFoundError: TensorFlow is not installed, or its wheel holds no such library.
    """
    spec = importlib.util.find_spec("tensorflow")
    folder = Path(spec.origin).parent if spec else Path("tensorflow")
    for name in ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib", "tensorflow_cc.dll"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} holds no libtensorflow_cc; install tensorflow.")


def load_library(path):
    """The C library with the signatures of the functions used here.

    Args:
        path: the library, or a folder that holds it somewhere inside: an unpacked wheel, say.

    Raises:
        FileNotFoundError: there is no such library.
        ValueError: the system cannot load it.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(path.rglob("libtensorflow_cc.*"))
        if not inside:
            raise FileNotFoundError(
                f"{path} holds no libtensorflow_cc; name a TensorFlow wheel, unpacked."
            )
        path = inside[0]
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; name libtensorflow_cc or its folder.")
    try:
        library = ctypes.CDLL(str(path.resolve()))  # of a name alone the system looks elsewhere
    except OSError as error:
        raise ValueError(f"{path} cannot be loaded as a library: {error}.") from None
    pointers = {
        "TF_GetAllOpList": [],
        "TF_NewStatus": [],
        "TF_NewGraph": [],
        "TF_NewSessionOptions": [],
        "TF_GraphOperationByName": [c_void_p, c_char_p],
        "TF_TensorData": [c_void_p],
        "TF_AllocateTensor": [c_int, POINTER(c_int64), c_int, c_size_t],
        "TF_StringGetDataPointer": [c_void_p],
        "TF_LoadSessionFromSavedModel": [
            c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(Buffer),
            c_void_p,
        ],
    }  # fmt: skip
    for name, arguments in pointers.items():
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = c_void_p
    for name, arguments, result in (
        ("TF_Version", [], c_char_p),
        ("TF_DeleteBuffer", [c_void_p], None),
        ("TF_DeleteTensor", [c_void_p], None),
        ("TF_StringDealloc", [c_void_p], None),
        ("TF_GetCode", [c_void_p], c_int),
        ("TF_Message", [c_void_p], c_char_p),
        ("TF_TensorType", [c_void_p], c_int),
        ("TF_NumDims", [c_void_p], c_int),
        ("TF_Dim", [c_void_p, c_int], c_int64),
        ("TF_TensorByteSize", [c_void_p], c_size_t),
        ("TF_StringInit", [c_void_p], None),
        ("TF_StringCopy", [c_void_p, c_char_p, c_size_t], None),
        ("TF_StringGetSize", [c_void_p], c_size_t),
        (
            "TF_SessionRun",
            [
                c_void_p, c_void_p, POINTER(Output), POINTER(c_void_p), c_int, POINTER(Output),
                POINTER(c_void_p), c_int, c_void_p, c_int, c_void_p, c_void_p,
            ],
            None,
        ),
    ):  # fmt: skip
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = result
    return library


def fields(message):
    """Yield (number, value) of a serialized protocol buffer; bytes, or int for varints."""
    place = 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            length = varint()
        yield number, message[place : place + length]
        place += length


def entry(message):
    """Key and value of a map's entry: (str, bytes or int)."""
    pair = dict(fields(message))
    return pair.get(1, b"").decode(), pair.get(2, b"")


def read_shape(message):
    """A TensorShapeProto: tuple of sizes, -1 where open; None for an unknown rank."""
    sizes = []
    for number, value in fields(message):
        if number == 3 and value:
            return None
        if number == 2:
            size = dict(fields(value)).get(1, 0)
            sizes.append(size - (1 << 64) if size >> 63 else size)
    return tuple(sizes)


class Place(NamedTuple):
    """Where a signature's input or output lies in the graph.

    Attributes:
        tensor: its name, such as `StatefulPartitionedCall:1`.
        dtype: TensorFlow's number of its type.
        shape: tuple of sizes, -1 where open; None for an unknown rank.
    """

    tensor: str
    dtype: int
    shape: tuple | None


def read_signatures(meta_graph):
    """What each signature takes and gives.

    Args:
        meta_graph: a serialized MetaGraphDef.

    Returns:
        {signature: {"inputs": {key: `Place`}, "outputs": {key: `Place`}}}.
    """
    signatures = {}
    for number, value in fields(meta_graph):
        if number != 5:
            continue
        name, definition = entry(value)
        if name == "__saved_model_init_op":  # no signature: an operation without a tensor
            continue
        tensors = {"inputs": {}, "outputs": {}}
        for part, item in fields(definition):
            if part in (1, 2):
                key, info = entry(item)
                info = dict(fields(info))
                place = Place(info[1].decode(), info.get(2, 0), read_shape(info.get(3, b"")))
                tensors["inputs" if part == 1 else "outputs"][key] = place
        signatures[name] = tensors
    return signatures


class Session:
    """An export opened by the C loader.

    Args:
        export: the SavedModel's folder.
        library: path of libtensorflow_cc, or a folder that holds it, None for the installed one.

    Attributes:
        signatures: as from `read_signatures`.
        version: TensorFlow's version of the library.
        stock: names of all kinds of operations that the library has.

    Raises:
        ValueError: the loader refuses the export.
    """

    def __init__(self, export, library=None):
        self.library = load_library(library or find_library())
        self.version = self.library.TF_Version().decode()
        self.stock = self.all_operations()
        self.status = self.library.TF_NewStatus()
        self.graph = self.library.TF_NewGraph()
        meta_graph = Buffer()
        tags = (c_char_p * 1)(b"serve")
        self.session = self.library.TF_LoadSessionFromSavedModel(
            self.library.TF_NewSessionOptions(), None, os.fsencode(export), tags, 1, self.graph,
            byref(meta_graph), self.status,
        )  # fmt: skip
        self.check(f"{export} cannot be loaded")
        self.signatures = read_signatures(ctypes.string_at(meta_graph.data, meta_graph.length))

    def all_operations(self):
        """Names of all kinds of operations that the library has, a set."""
        pointer = self.library.TF_GetAllOpList()
        buffer = Buffer.from_address(pointer)
        found = ctypes.string_at(buffer.data, buffer.length)
        self.library.TF_DeleteBuffer(pointer)
        return {dict(fields(value))[1].decode() for number, value in fields(found) if number == 1}

    def check(self, what):
        """Raise ValueError if the last call failed."""
        if self.library.TF_GetCode(self.status):
            message = self.library.TF_Message(self.status).decode(errors="replace")
            raise ValueError(f"{what}: {message}")

    def output(self, tensor):
        """TF_Output of a tensor's name, such as `StatefulPartitionedCall:1`."""
        name, _, index = tensor.partition(":")
        operation = self.library.TF_GraphOperationByName(self.graph, name.encode())
        return Output(operation, int(index or 0))

    def to_tensor(self, array, dtype):
        """TF_Tensor of an array, as the signature's dtype number."""
        shape = (c_int64 * array.ndim)(*array.shape)
        if dtype != STRING:
            array = np.ascontiguousarray(array, DTYPES[dtype])
            tensor = self.library.TF_AllocateTensor(dtype, shape, array.ndim, array.nbytes)
            ctypes.memmove(self.library.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
            return tensor
        tensor = self.library.TF_AllocateTensor(
            dtype, shape, array.ndim, array.size * TSTRING_BYTES
        )
        data = self.library.TF_TensorData(tensor)
        for i, item in enumerate(array.ravel()):
            self.library.TF_StringInit(data + i * TSTRING_BYTES)
            self.library.TF_StringCopy(data + i * TSTRING_BYTES, item, len(item))
        return tensor

    def to_array(self, tensor):
        """NumPy array of a TF_Tensor; strings become an object array of bytes."""
        dimensions = range(self.library.TF_NumDims(tensor))
        shape = tuple(self.library.TF_Dim(tensor, i) for i in dimensions)
        data = self.library.TF_TensorData(tensor)
        dtype = self.library.TF_TensorType(tensor)
        if dtype != STRING:
            raw = ctypes.string_at(data, self.library.TF_TensorByteSize(tensor))
            return np.frombuffer(raw, DTYPES[dtype]).reshape(shape)  # `raw` is a copy
        result = np.empty(int(np.prod(shape)), object)
        for i in range(result.size):
            item = data + i * TSTRING_BYTES
            result[i] = ctypes.string_at(
                self.library.TF_StringGetDataPointer(item), self.library.TF_StringGetSize(item)
            )
        return result.reshape(shape)

    def call(self, signature, inputs):
        """Run one signature.

        Args:
            signature: its name.
            inputs: {key: array}; strings as an object array of bytes.

        Returns:
            {key: array} of its outputs.

        Raises:
            ValueError: there is no such signature, the inputs are not its, or the graph fails.
        """
        if signature not in self.signatures:
            raise ValueError(f"There is no signature {signature!r}: {sorted(self.signatures)}.")
        wanted = self.signatures[signature]
        if set(inputs) != set(wanted["inputs"]):
            raise ValueError(f"{signature} takes {sorted(wanted['inputs'])}, not {sorted(inputs)}.")
        keys = list(inputs)
        feeds = (Output * len(keys))(*(self.output(wanted["inputs"][key].tensor) for key in keys))
        values = (c_void_p * len(keys))(
            *(self.to_tensor(inputs[key], wanted["inputs"][key].dtype) for key in keys)
        )
        names = list(wanted["outputs"])
        fetches = (Output * len(names))(*(self.output(wanted["outputs"][n].tensor) for n in names))
        results = (c_void_p * len(names))()
        self.library.TF_SessionRun(
            self.session, None, feeds, values, len(keys), fetches, results, len(names), None, 0,
            None, self.status,
        )  # fmt: skip
        for key, value in zip(keys, values, strict=True):
            self.free(value, inputs[key].size if wanted["inputs"][key].dtype == STRING else 0)
        self.check(f"{signature} failed")
        arrays = dict(zip(names, map(self.to_array, results), strict=True))
        for result in results:
            self.free(result)
        return arrays

    def free(self, tensor, strings=0):
        """Give a tensor back; first the first `strings` strings that `to_tensor` copied into it."""
        data = self.library.TF_TensorData(tensor) if strings else 0
        for i in range(strings):
            self.library.TF_StringDealloc(data + i * TSTRING_BYTES)
        self.library.TF_DeleteTensor(tensor)
