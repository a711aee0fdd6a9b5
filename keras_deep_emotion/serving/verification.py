"""Verifies an export: opens it as TensorFlow Serving does and checks every signature.

This process reads the messages and checks them. The C loader runs in a child process without
TensorFlow (`c_loader`), so that the library of any TensorFlow version can be tried.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_deep_emotion.exports import ABOUT, CARD, EXPECTED, LABELS, WARMUP
from keras_deep_emotion.files import parse_labels, read_json, read_text
from keras_deep_emotion.inference.operations import DENIED, reachable_operations
from keras_deep_emotion.runs import read_arrays
from keras_deep_emotion.serving.c_loader import DTYPES, ChildSession, Session
from keras_deep_emotion.serving.contract import CONTRACT, OPTIONAL

TOLERANCE = 1e-4  # ours: of a probability; TensorFlow's versions differ in their rounding
# Ours: pixels of a photo; a probability of a face in it, whose crop may differ by a grey level.
PHOTO_TOLERANCES = {"boxes": 0.1, "landmarks": 0.1, "probabilities": 1e-3}
TOLERATED_SHARE = {"decisive": 0.03}  # ours: of pixels; a window at the threshold may go either way
INVALID = -1  # number of an invalid row
BATCHES = (0, 1, 3)  # sizes that each signature is called with
AGAIN = "Export the run again."
ABOUT_SCHEMA = {"dataset": str, "accuracy": (float, None), "judged_on": (str, None)}


def verify(export: str | Path, library: str | Path | None = None) -> Iterator[str]:
    """Verify an export; the C loader starts to open it in a child process at once.

    The iterator runs the checks and yields a line for each that passes. It raises ValueError at the
    first that fails, also if the C loader crashes.

    Args:
        export: A version's folder.
        library: libtensorflow_cc, or a folder that contains it, such as an unpacked wheel; None
            for the installed TensorFlow's.

    Raises:
        FileNotFoundError: If the folder is not a SavedModel, or there is no library.
    """
    if not (Path(export) / "saved_model.pb").exists():
        raise FileNotFoundError(
            f"{export} is not an export: it has no saved_model.pb. Name a version's folder, such "
            "as exports/NAME/1."
        )
    child = ChildSession(export, library)

    def checks():
        with child as session:
            yield f"opened by TensorFlow {session.version}'s C loader in {session.seconds:.1f} s"
            yield from Verification(export, LoadedExport(session)).lines()

    return checks()


class LoadedExport:
    """The `signatures` of an export that the C loader has opened, SignatureDefs by name."""

    def __init__(self, session: Session | ChildSession):
        from tensorflow.core.framework.op_def_pb2 import OpList
        from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

        self.session = session
        meta_graph = MetaGraphDef.FromString(session.meta_graph)
        self.graph, self.signatures = meta_graph.graph_def, dict(meta_graph.signature_def)
        self.signatures.pop("__saved_model_init_op", None)  # has no tensors
        self.stock_operations = {op.name for op in OpList.FromString(session.operations).op}

    def call(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a signature on arrays by input name; strings are object arrays of bytes."""
        if signature not in self.signatures:
            raise ValueError(f"There is no signature {signature!r}: {sorted(self.signatures)}.")
        definition = self.signatures[signature]
        names = sorted(definition.inputs)
        if names != sorted(inputs):
            raise ValueError(f"{signature} takes {names}, not {sorted(inputs)}.")
        feeds = {
            info.name: np.asarray(inputs[key], DTYPES[info.dtype])
            for key, info in definition.inputs.items()
        }
        tensors = {key: info.name for key, info in definition.outputs.items()}
        try:
            results = self.session.run(feeds, list(tensors.values()))
        except ValueError as error:
            raise ValueError(f"{signature} failed: {error}") from None
        return {key: results[tensor] for key, tensor in tensors.items()}


class Verification:
    """The checks of an export; each returns a line, or raises ValueError if it fails."""

    def __init__(self, export: str | Path, loaded: LoadedExport):
        self.export, self.loaded = Path(export), loaded
        files = [self.export / name for name in (LABELS, CARD, ABOUT, EXPECTED)]
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise ValueError(f"{files[0].parent} lacks {', '.join(missing)}. Export the run again.")
        axes = {"image": 4, "files": 1, "probabilities": 2, "saliency": 3, "decisive": 3}
        if "photo_bytes" in loaded.signatures:
            axes |= {"photo_files": 1, "photo_faces": 1, "photo_boxes": 3, "photo_landmarks": 4}
            axes["photo_probabilities"] = 3
        self.expected = read_arrays(self.export / EXPECTED, AGAIN, **axes)
        if min(map(len, self.expected.values())) < max(BATCHES):
            raise ValueError(f"{self.export / EXPECTED} is damaged: it has too few rows. {AGAIN}")
        count = self.expected["probabilities"].shape[1]
        self.labels = parse_labels(read_text(self.export / LABELS), self.export / LABELS, count)
        missing = OPTIONAL - loaded.signatures.keys()
        self.contract = {name: CONTRACT[name] for name in CONTRACT if name not in missing}

    def lines(self) -> Iterator[str]:
        """Yield the line of each check that passes."""
        about = read_json(self.export / ABOUT, ABOUT_SCHEMA, AGAIN)
        accuracy = about["accuracy"]
        result = (
            "not evaluated"
            if accuracy is None
            else f"{100 * accuracy:.2f} % on {about['judged_on']}"
        )
        yield f"{len(self.labels)} labels; {about['dataset']}, {result}"
        yield self.check_signatures()
        yield self.check_operations()
        for signature in self.contract:
            yield self.check_outputs(signature)
        yield self.check_invalid_rows()
        yield self.check_warmup()

    def check_signatures(self) -> str:
        """Compare names, types and shapes with the contract."""
        signatures = self.loaded.signatures
        if set(signatures) != set(self.contract):
            raise ValueError(
                f"The signatures are {sorted(signatures)}, not {sorted(self.contract)}."
            )
        sizes = {"classes": len(self.labels), "size": self.expected["image"].shape[1]}
        for name, sides in self.contract.items():
            for side, contract in zip(("inputs", "outputs"), sides, strict=True):
                expected = {
                    key: (dtype, (-1, *(sizes.get(size, size) for size in shape)))
                    for key, (dtype, shape) in contract.items()
                }
                actual = {
                    key: (DTYPES.get(info.dtype), tuple(d.size for d in info.tensor_shape.dim))
                    for key, info in getattr(signatures[name], side).items()
                }
                if actual != expected:
                    raise ValueError(f"{name}'s {side} are {actual}, not {expected}.")
        return f"{len(signatures)} signatures, inputs and outputs as in the contract"

    def check_operations(self) -> str:
        """Check that every operation is in stock TensorFlow and safe on a server."""
        operations = reachable_operations(self.loaded.graph, self.loaded.signatures.values())
        if denied := sorted(operations & DENIED):
            raise ValueError(f"The signatures use {', '.join(denied)}: not for a server.")
        if unknown := sorted(operations - self.loaded.stock_operations):
            raise ValueError(f"A stock server has no {', '.join(unknown)}.")
        return f"{len(operations)} kinds of operations, all stock; none calls Python, files or XLA"

    def check_outputs(self, signature: str) -> str:
        """Compare the outputs at batch sizes 0, 1 and 3 with the Keras model's."""
        from keras_deep_emotion.serving.warmup import batch_inputs

        kind = "photo_files" if signature == "photo_bytes" else "files"
        inputs = batch_inputs(signature, self.expected["image"], self.expected[kind].tolist())
        differences = []
        for count in BATCHES:
            outputs = self.loaded.call(signature, {key: inputs[key][:count] for key in inputs})
            differences.append(self.compare(signature, outputs, np.arange(count)))
        most = max(differences)
        return f"{signature:<15} at batch 0, 1, 3; from the Keras model at most {most:.1g}"

    def check_invalid_rows(self) -> str:
        """Check that invalid rows are marked, and that the valid row beside them is classified."""
        from keras_deep_emotion.serving.warmup import batch_inputs

        image, file = self.expected["image"][0].astype(np.float32), self.expected["files"][0].item()
        images = np.stack([image * np.nan, image - 300, image + 256, image])
        files = [b"", b"a text", file[: len(file) // 2], b"\xff\xd8\xff\xe0", file[:20]]
        for signature in self.contract:
            last = self.expected["photo_files"][0].item() if signature == "photo_bytes" else file
            inputs = batch_inputs(signature, images, [*files, last])
            if signature == "classify":
                inputs = {"inputs": np.insert(inputs["inputs"], 0, b"not an Example")}
            ((key, batch),) = inputs.items()
            rows = np.array([INVALID] * (len(batch) - 1) + [0])
            try:
                self.compare(signature, self.loaded.call(signature, inputs), rows)
            except ValueError as error:
                raise ValueError(f"In a batch with invalid rows, {error}") from None
        return "invalid rows are marked, and the valid row beside them is classified"

    def compare(self, signature: str, outputs: dict[str, np.ndarray], rows: np.ndarray) -> float:
        """The largest difference from the Keras model; raise ValueError if it is too large.

        `rows` has the number of the expected image for each row of the outputs, or `INVALID`.
        """
        valid = rows != INVALID
        if signature == "photo_bytes":
            expected, tolerances = self.expected_photos(rows, valid), PHOTO_TOLERANCES
        else:
            expected, tolerances = self.expected_faces(rows, valid), {}
        difference = 0.0
        for key, (dtype, _) in self.contract[signature][1].items():
            actual, wanted = outputs[key], expected[key]
            if actual.shape != wanted.shape:
                raise ValueError(f"{signature}: {key} is {actual.shape}, not {wanted.shape}.")
            if dtype == "float32":
                by = np.abs(actual - wanted).max(initial=0.0)
                if not by <= tolerances.get(key, TOLERANCE):  # or NaN
                    raise ValueError(
                        f"{signature}: {key} differs from the Keras model by {by:.2g}."
                    )
                difference = max(difference, by)
            elif (actual != wanted).sum() > TOLERATED_SHARE.get(key, 0) * actual.size:
                raise ValueError(f"{signature}: {key} differs from the Keras model.")
        return difference

    def expected_faces(self, rows: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of the signatures of cropped faces."""
        labels = np.array([label.encode() for label in self.labels], object)
        probabilities = np.where(valid[:, None], self.expected["probabilities"][rows], 0)
        class_id = self.expected["probabilities"][rows].argmax(axis=1)
        return {
            "probabilities": probabilities,
            "scores": probabilities,
            "class_id": np.where(valid, class_id, -1),
            "class_name": np.where(valid, labels[class_id], b""),
            "classes": np.tile(labels, (len(rows), 1)),
            "valid": valid,
            "saliency": np.where(valid[:, None, None], self.expected["saliency"][rows], 0),
            "decisive": valid[:, None, None] & self.expected["decisive"][rows],
        }

    def expected_photos(self, rows: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of `photo_bytes`."""
        outputs = {"valid": valid}
        for key in ("faces", "boxes", "landmarks", "probabilities"):
            values = self.expected[f"photo_{key}"][rows]
            outputs[key] = np.where(valid.reshape(-1, *[1] * (values.ndim - 1)), values, 0)
        return outputs

    def check_warmup(self) -> str:
        """Replay the warm-up records, at least one for each signature."""
        from keras_deep_emotion.serving.warmup import read_warmup

        file = self.export / WARMUP
        if not file.exists():
            raise ValueError(f"{file} is missing. Export the run again.")
        records = list(read_warmup(file))
        for signature, inputs in records:
            if not self.loaded.call(signature, inputs).get("valid", np.True_).all():
                raise ValueError(f"A warm-up record of {signature} has invalid images.")
        if missing := sorted(set(self.contract) - {signature for signature, _ in records}):
            raise ValueError(f"The warm-up has no record of {missing}. Export the run again.")
        return f"{len(records)} warm-up records replayed, at least one for each signature"
