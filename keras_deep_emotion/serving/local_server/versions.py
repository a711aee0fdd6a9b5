"""The versions of one model: found in its folder, loaded, run and dropped as the server does.

States and texts follow tensorflow_serving/core (basic_manager, servable_state_monitor) and
sources/storage_path: the newest versions are wanted; one that is not wanted any more goes on until
a wanted one is loaded; one that cannot be loaded stays in the status with its error. The server
tries such a version five times more, a minute apart; here it is given up at once.
"""

import contextlib
import logging
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from keras_deep_emotion.exports import Export
from keras_deep_emotion.serving.local_server.errors import ServingError, invalid

DTYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


def dtype_name(dtype):
    """A dtype as TensorFlow's C++ prints it: `float`, not `float32`."""
    name = tf.dtypes.as_dtype(dtype).name
    return DTYPE_NAMES.get(name, name)


class State(NamedTuple):
    """Where a version stands.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        code: name of a gRPC status code, `OK` if nothing went wrong.
        message: what went wrong.
    """

    state: str
    code: str = "OK"
    message: str = ""


class LoadedVersion:
    """One SavedModel, loaded by TensorFlow's v1 loader into a session of its own graph.

    Args:
        path: the SavedModel's folder.
        number: the version's number.
        timeout: seconds after which a run is given up.

    Attributes:
        signatures: {name: SignatureDef}.
        calls: how many are running; `Versions` counts.

    Raises:
        Refusal: it cannot be loaded.
    """

    def __init__(self, path, number, timeout):
        self.number = number
        self.timeout = timeout
        self.calls = 0
        self._callables = {}
        # The texts of the C++ loader; Python's has others.
        if not any((path / f"saved_model.{end}").exists() for end in ("pb", "pbtxt")):
            raise ServingError(
                "NOT_FOUND",
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
                ". Check that the directory exists and that you have the right permissions for "
                "accessing it.",
            )
        graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        except Exception as error:
            self.session.close()
            if isinstance(error, tf.errors.OpError):
                raise ServingError.of(error) from error
            if isinstance(error, OSError):
                text = f"Can't parse {path}/saved_model.pb as binary proto"
                raise ServingError("DATA_LOSS", text) from error
            if isinstance(error, RuntimeError):
                text = (
                    "Could not find meta graph def matching supplied tags: { serve }. To inspect "
                    "available tag-sets in the SavedModel, please use the SavedModel CLI: "
                    "`saved_model_cli`"
                )
                raise ServingError("NOT_FOUND", text) from error
            raise ServingError("UNKNOWN", f"{type(error).__name__}: {error}") from error
        self.signatures = dict(meta_graph.signature_def)

    def run(self, signature, inputs):
        """Run one signature.

        Args:
            signature: one of the values of `signatures`.
            inputs: {name: array}, all that the signature has; strings as object arrays of bytes.

        Returns:
            {name: array} of all its outputs.

        Raises:
            Refusal: the inputs are not of the signature's types, the graph refuses, or it takes
                longer than `timeout`.
        """
        names = sorted(signature.inputs)
        for place, name in enumerate(names):
            expected = tf.dtypes.as_dtype(signature.inputs[name].dtype)
            found = inputs[name].dtype
            if found != expected.as_numpy_dtype:
                found = tf.string if found.kind == "O" else found
                raise invalid(
                    f"Expects arg[{place}] to be {dtype_name(expected)} but {dtype_name(found)} "
                    "is provided"
                )
        run = self._callable(signature, names)
        try:
            results = run(*(inputs[name] for name in names))
        except tf.errors.OpError as error:
            raise ServingError.of(error) from error
        except RuntimeError as error:  # a session that was closed
            raise ServingError("CANCELLED", str(error)) from error
        return dict(zip(sorted(signature.outputs), results, strict=True))

    def _callable(self, signature, names):
        feeds = tuple(signature.inputs[name].name for name in names)
        fetches = tuple(signature.outputs[name].name for name in sorted(signature.outputs))
        if (feeds, fetches) not in self._callables:
            options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
            options.run_options.timeout_in_ms = int(self.timeout * 1000)
            # Not session.run: it converts types and refuses shapes, which the server does not.
            made = self.session._make_callable_from_options(options)
            self._callables[feeds, fetches] = made
        return self._callables[feeds, fetches]


class ModelVersions:
    """The loaded versions of one model, kept in step with its folder.

    Args:
        name: the model's name to clients.
        folder: its folder of versions.
        only: the one version to serve, beside those of labels; None for the newest.
        keep: how many of the newest versions are served at once.
        labels: {label: version}; the versions of labels are served too.
        timeout: seconds that a call may take.
        parallel: calls that run at once; more wait, for `timeout` at most.
        report: called with a line on each change.
    """

    def __init__(
        self, name, folder, only=None, keep=1, labels=None, timeout=60, parallel=16, report=None
    ):
        self.name = name
        self.folder = Path(folder)
        self.only = only
        self.keep = keep
        self.labels = dict(labels or {})
        self.timeout = timeout
        self.report = report or (lambda line: None)
        self._room = threading.BoundedSemaphore(parallel)
        self._changed = threading.Condition()
        self._loaded = {}
        self._states = {}
        self._failed = set()
        self._stopped = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)

    def start(self, interval=1):
        """Load what is there, then look each `interval` seconds for a change.

        Raises:
            ValueError: a version cannot be loaded, or a label names none that is served.
        """
        self.update()
        for number, state in sorted(self._states.items()):
            if state.state == "END":
                raise ValueError(
                    f"Version {number} of {self.name} cannot be loaded: {state.message} "
                    "Export it again, or remove its folder."
                )
        for label, number in self.labels.items():
            if number not in self._loaded:
                raise ValueError(
                    f"The label {label} names version {number}, and {self.folder} has only "
                    f"{sorted(Export(self.folder).versions())}."
                )
        self._interval = interval
        self._poller.start()

    def stop(self):
        """Drop everything; running calls are cancelled."""
        self._stopped.set()
        for version in list(self._loaded.values()):
            version.session.close()
        if self._poller.is_alive():
            self._poller.join(10)

    def _poll(self):
        while not self._stopped.wait(self._interval):
            try:
                self.update()
            except OSError:  # the folder is not to be read just now: all stays as it is
                pass
            except Exception:  # a bug of ours must not end the looking
                logging.exception("the folder of versions could not be followed")

    def _wanted(self):
        paths = Export(self.folder).versions()
        newest = sorted(paths)[-self.keep :] if self.only is None else [self.only]
        numbers = {*newest, *self.labels.values()}
        return {number: path for number, path in paths.items() if number in numbers}

    def update(self):
        """Look into the folder once: load what is new, then drop what is not wanted any more.

        Raises:
            OSError: the folder cannot be read.
        """
        wanted = self._wanted()
        self._failed &= set(wanted)  # one that went away may come again
        for number in sorted(set(wanted) - set(self._loaded) - self._failed, reverse=True):
            self._load(number, wanted[number])
        if not wanted or set(wanted) & set(self._loaded):
            for number in sorted(set(self._loaded) - set(wanted)):
                self._drop(number)

    def _load(self, number, path):
        self._set(number, State("LOADING"))
        try:
            version = LoadedVersion(path, number, self.timeout)
        except ServingError as refusal:
            self._failed.add(number)
            self._set(number, State("END", refusal.code, refusal.message))
            self.report(f"{self.name}: version {number} cannot be loaded: {refusal.message}")
            return
        with self._changed:
            self._loaded[number] = version
        self._set(number, State("AVAILABLE"))
        self.report(f"{self.name}: version {number} is served.")

    def _drop(self, number):
        self._set(number, State("UNLOADING"))
        with self._changed:
            version = self._loaded.pop(number)
            self._changed.wait_for(lambda: version.calls == 0, self.timeout)
        version.session.close()
        self._set(number, State("END"))
        self.report(f"{self.name}: version {number} was dropped.")

    def _set(self, number, state):
        with self._changed:
            self._states[number] = state

    def states(self):
        """{number: State} of all versions that were ever seen, the newest first."""
        with self._changed:
            return dict(sorted(self._states.items(), reverse=True))

    @contextlib.contextmanager
    def use(self, spec):
        """Hold a loaded version for a call: `with versions.use(spec) as version`.

        Args:
            spec: ModelSpec.

        Yields:
            `Version`; it is not dropped meanwhile.

        Raises:
            Refusal: there is no such model, version or label.
        """
        with self._changed:
            version = self._find(spec)
            version.calls += 1
        try:
            yield version
        finally:
            with self._changed:
                version.calls -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def room(self):
        """Wait for one of the `parallel` places in which calls run.

        Raises:
            Refusal: none came free within `timeout`.
        """
        if not self._room.acquire(timeout=self.timeout):
            raise ServingError("RESOURCE_EXHAUSTED", "Too many calls at once; try again later.")
        try:
            yield
        finally:
            self._room.release()

    def _find(self, spec):
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        wanted = f"Latest({spec.name})"
        loaded = self._loaded if spec.name == self.name else {}
        number = max(loaded, default=None)
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            number = spec.version.value
        elif choice == "version_label":
            number = self.labels.get(spec.version_label) if spec.name == self.name else None
            if number is None:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        if choice:
            wanted = f"Specific({spec.name}, {number})"
        if number not in loaded:
            raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return loaded[number]


def as_array(proto, name):
    """Array of a TensorProto.

    Args:
        proto: the tensor.
        name: what the client calls it, for the text of a refusal.

    Raises:
        Refusal: it is no tensor.
    """
    # A few bytes may claim any shape; TensorFlow would repeat the last value to fill it.
    size = np.prod([float(dim.size) for dim in proto.tensor_shape.dim] or [1])
    if size > max(2**24, proto.ByteSize()):
        raise ServingError("RESOURCE_EXHAUSTED", f"tensor too large: {name}")
    if proto.tensor_shape.unknown_rank or any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise invalid(f"tensor parsing error: {name}")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, IndexError):
        raise invalid(f"tensor parsing error: {name}") from None
