"""The versions of one model: loaded from its folder, swapped while calls run, unloaded.

As in TensorFlow Serving, the newest versions are served, a version that is no longer wanted is
served until a wanted one is loaded, and a version that cannot be loaded stays in the status with
its error. It is tried again when its folder has gone and come back.
"""

import contextlib
import functools
import gc
import logging
import threading

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from keras_deep_emotion.exports import Export, is_saved_model
from keras_deep_emotion.files import plain_path
from keras_deep_emotion.serving.local_server.errors import ServingError, invalid


def make_callable(session, feeds, fetches, timeout):
    """Return a function that runs a session on arrays and leaves all checks to the graph.

    `Session.run` converts types and checks static shapes, which TensorFlow Serving does not. The
    private method called here was last seen in TensorFlow 2.21.
    """
    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    options.run_options.timeout_in_ms = int(timeout * 1000)
    return session._make_callable_from_options(options)


class LoadedVersion:
    """One SavedModel in a session of its own; raises `ServingError` if it cannot be loaded."""

    def __init__(self, path, number, timeout, slots):
        self.number = number
        self.calls = 0  # `ModelVersions` counts those that run
        self._timeout, self._slots, self._lock = timeout, slots, threading.Lock()
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        make = functools.partial(make_callable, self.session, timeout=timeout)
        self._callable = functools.cache(make)
        try:
            with plain_path(path) as plain, self.session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self.session, ["serve"], plain)
        except Exception as error:
            self.session.close()
            if isinstance(error, tf.errors.OpError):
                raise ServingError.from_tensorflow(error) from error
            code = "DATA_LOSS" if is_saved_model(path) else "NOT_FOUND"
            raise ServingError(code, str(error)) from error
        self.signatures = dict(meta_graph.signature_def)

    def signature(self, name, code="FAILED_PRECONDITION"):
        """The SignatureDef of a name; `ServingError` of the code is raised for other names."""
        if name not in self.signatures:
            raise ServingError(code, f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def run(self, signature, inputs, output_filter=()):
        """Run a signature on {name: array}, strings as object arrays of bytes.

        Returns {name: array} of the outputs in the filter; an empty filter stands for all.
        """
        names, outputs = sorted(signature.inputs), sorted(signature.outputs)
        if sorted(inputs) != names:
            raise invalid(f"Expected the inputs {names}. Received: {sorted(inputs)}")
        if sorted(set(output_filter) & set(outputs)) != sorted(output_filter):
            raise invalid(f"Expected some outputs of {outputs}. Received: {list(output_filter)}")
        feeds = tuple(signature.inputs[name].name for name in names)
        fetches = tuple(signature.outputs[name].name for name in output_filter or outputs)
        if not self._slots.acquire(timeout=self._timeout):
            raise ServingError("RESOURCE_EXHAUSTED", "Too many calls at once; try again later.")
        try:
            with self._lock:  # made once: it optimizes the graph, which takes long
                call = self._callable(feeds, fetches)
            results = call(*(inputs[name] for name in names))
        except tf.errors.OpError as error:
            raise ServingError.from_tensorflow(error) from error
        except UnicodeDecodeError:  # an error that quotes an input of bytes
            raise invalid("An input is not valid; the error is not valid UTF-8.") from None
        finally:
            self._slots.release()
        return dict(zip(output_filter or outputs, results, strict=True))


class ModelVersions:
    """The loaded versions of a model, kept in step with its folder; arguments of `LocalServer`."""

    def __init__(self, name, folder, only, keep, labels, timeout, parallel, report):
        self.name = name
        self.labels = dict(labels or {})
        self.report = report or (lambda line: None)
        self._folder, self._only, self._keep, self.timeout = folder, only, keep, timeout
        self._slots = threading.BoundedSemaphore(parallel)
        self._released = threading.Condition()
        self._loaded = {}
        self._states = {}  # {number: (state, gRPC status code, message)}
        self._failed = set()
        self._stopped = threading.Event()
        self._poller = None

    def start(self, interval):
        """Load the versions, then check the folder for changes every `interval` seconds."""
        self.update()
        for number in self._failed:
            raise ValueError(
                f"Version {number} of {self.name} cannot be loaded: {self._states[number][2]} "
                "Export it again, or remove its folder."
            )
        for label, number in self.labels.items():
            if number not in self._loaded:
                raise ValueError(
                    f"The label {label} names version {number}, and {self._folder} has only "
                    f"{sorted(Export(self._folder).versions())}."
                )
        self._poller = threading.Thread(target=self._poll, args=(interval,), daemon=True)
        self._poller.start()

    def stop(self):
        """Close all versions; running calls are cancelled."""
        self._stopped.set()
        with self._released:
            self._released.notify_all()  # `_unload` waits no longer
        for version in list(self._loaded.values()):
            version.session.close()
        if self._poller:
            self._poller.join(10)

    def _poll(self, interval):
        while not self._stopped.wait(interval):
            try:
                with contextlib.suppress(OSError):  # the folder cannot be read: keep what is loaded
                    self.update()
            except Exception:  # a bug must not end the polling
                logging.exception("The versions of %s could not be updated.", self.name)

    def update(self):
        """Read the folder once: load new versions, then unload those that are not wanted."""
        paths = Export(self._folder).versions()
        newest = sorted(paths)[-self._keep :] if self._only is None else [self._only]
        wanted = {*newest, *self.labels.values()} & set(paths)
        self._failed &= wanted  # a version whose folder has gone is tried when it is back
        for number in sorted(wanted - set(self._loaded) - self._failed, reverse=True):
            self._load(number, paths[number])
        if not wanted or wanted & set(self._loaded):
            for number in sorted(set(self._loaded) - wanted):
                self._unload(number)

    def _load(self, number, path):
        self._states[number] = ("LOADING", "OK", "")
        try:
            version = LoadedVersion(path, number, self.timeout, self._slots)
        except ServingError as error:
            self._failed.add(number)
            self._states[number] = ("END", error.code, error.message)
            self.report(f"{self.name}: version {number} cannot be loaded: {error.message}")
            gc.collect()  # as in `_unload`
            return
        with self._released:
            self._loaded[number] = version
        self._states[number] = ("AVAILABLE", "OK", "")
        self.report(f"{self.name}: version {number} is served.")

    def _is_idle(self, version):
        return version.calls == 0 or self._stopped.is_set()

    def _unload(self, number):
        self._states[number] = ("UNLOADING", "OK", "")
        with self._released:
            version = self._loaded.pop(number)
            self._released.wait_for(functools.partial(self._is_idle, version), self.timeout)
        version.session.close()
        del version
        gc.collect()  # a graph is a cycle: 40 MB, which else stay until Python collects them
        self._states[number] = ("END", "OK", "")
        self.report(f"{self.name}: version {number} was dropped.")

    def states(self):
        """{number: (state, code, message)} of all versions since the start, the newest first."""
        return dict(sorted(self._states.copy().items(), reverse=True))

    @contextlib.contextmanager
    def use(self, spec):
        """Hold the version of a ModelSpec for a call; it is not unloaded meanwhile."""
        with self._released:
            version = self._find(spec)
            version.calls += 1
        try:
            yield version
        finally:
            with self._released:
                version.calls -= 1
                self._released.notify_all()

    def _find(self, spec):
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        loaded, labels = (self._loaded, self.labels) if spec.name == self.name else ({}, {})
        choice = spec.WhichOneof("version_choice")
        number = max(loaded, default=None)
        if choice == "version":
            number = spec.version.value
        elif choice == "version_label":
            number = labels.get(spec.version_label)
            if number is None:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        if number not in loaded:
            wanted = f"Specific({spec.name}, {number})" if choice else f"Latest({spec.name})"
            raise ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return loaded[number]
