"""Checks an export as the server will meet it: the C loader, every signature, the warm-up.

TensorFlow is never imported, so that the library of any TensorFlow can be tried. All of it runs in
a process of its own: what brings a loader down does not bring down who asks.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_deep_emotion.serving.c_loader import Session, entry, fields, read_shape

FLOAT, STRING, INT64, BOOL = 1, 7, 9, 10  # DataType, types.proto


WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


TOLERANCE = 1e-4  # ours: of a probability; TensorFlow's versions differ in their rounding


# The public contract: what each signature takes and gives; every first dimension is the batch.
ANSWERS = {
    "probabilities": (FLOAT, ("classes",)),
    "class_id": (INT64, ()),
    "class_name": (STRING, ()),
    "valid": (BOOL, ()),
}


MAPS = {"saliency": (FLOAT, ("size", "size")), "decisive": (BOOL, ("size", "size"))}


IMAGE = {"image": (FLOAT, ("size", "size", 1))}


FILES = {"image_bytes": (STRING, ())}


CONTRACT = {
    "serving_default": (IMAGE, ANSWERS),
    "predict_bytes": (FILES, ANSWERS),
    "saliency": (IMAGE, ANSWERS | MAPS),
    "saliency_bytes": (FILES, ANSWERS | MAPS),
    "classify": (
        {"inputs": (STRING, ())},
        {"classes": (STRING, ("classes",)), "scores": (FLOAT, ("classes",))},
    ),
}


# What no graph behind a server may do: call Python, touch files, ask for a compiler that the
# server has not.
DENIED = (
    {"PyFunc", "PyFuncStateless", "EagerPyFunc"},
    {"ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "RestoreV2", "MergeV2Checkpoints"},
    {"TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDatasetV2"},
    {"InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "WholeFileReaderV2"},
    {"SaveDataset", "SaveDatasetV2", "LoadDataset", "DatasetToTFRecord", "CacheDatasetV2"},
    {"XlaLaunch", "XlaCallModule", "_XlaCompile", "_XlaRun"},
)


def reachable_operations(graph, outputs):
    """Kinds of operations that some outputs depend on, functions that they call included.

    Args:
        graph: a serialized GraphDef.
        outputs: names of tensors.

    Returns:
        Set of names; `XlaMustCompile` among them where a function or a node asks for it.
    """
    nodes, library = {}, {}
    for number, value in fields(graph):
        if number == 1:
            node = read_node(value)
            nodes[node["name"]] = node
        if number == 2:
            for part, function in fields(value):
                if part == 1:
                    name, inside = read_function(function)
                    library[name] = inside
    found, functions = set(), set()

    def take(node):
        found.add(node["op"])
        if node["compiled"]:
            found.add("XlaMustCompile")
        called = [name for name in (*node["functions"], node["op"]) if name in library]
        waiting.extend(name for name in called if name not in functions)
        functions.update(called)

    waiting = []
    to_see, seen = [name.partition(":")[0] for name in outputs], set()
    while to_see:
        name = to_see.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            take(nodes[name])
            to_see += nodes[name]["inputs"]
    while waiting:
        compiled, inside = library[waiting.pop()]
        if compiled:
            found.add("XlaMustCompile")
        for node in inside:
            take(node)
    return found - set(library)


def read_attributes(attributes):
    """(names of the functions that a node or function names, whether XLA must compile it)."""
    functions, compiled = [], False
    for key, value in map(entry, attributes):
        for number, inside in fields(value):
            if number == 10:  # AttrValue.func
                functions.append(dict(fields(inside))[1].decode())
            if number == 1:  # AttrValue.list
                functions += [
                    dict(fields(one))[1].decode() for part, one in fields(inside) if part == 9
                ]
            if number == 5 and key == "_XlaMustCompile":  # AttrValue.b
                compiled = bool(inside)
    return functions, compiled


def read_node(message):
    """A NodeDef: name, op, inputs (names of nodes), functions, compiled."""
    parts = list(fields(message))
    functions, compiled = read_attributes(value for number, value in parts if number == 5)
    inputs = [value.decode() for number, value in parts if number == 3]
    return {
        "name": dict(parts)[1].decode(),
        "op": dict(parts)[2].decode(),
        "inputs": [name.lstrip("^").partition(":")[0] for name in inputs],
        "functions": functions,
        "compiled": compiled,
    }


def read_function(message):
    """A FunctionDef: (name, (whether XLA must compile it, its nodes))."""
    parts = list(fields(message))
    _, compiled = read_attributes(value for number, value in parts if number == 5)
    name = dict(fields(dict(parts)[1]))[1].decode()
    return name, (compiled, [read_node(value) for number, value in parts if number == 3])


def read_records(file):
    """Yield the records of a TFRecord file (length, its checksum, bytes, their checksum)."""
    content = Path(file).read_bytes()
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        record = content[place + 12 : place + 12 + length]
        if len(record) < length:
            raise ValueError(f"{file} is cut off.")
        yield record
        place += 12 + length + 4


def read_tensor(message):
    """A TensorProto of float32 or strings."""
    parts = list(fields(message))
    first = dict(parts)
    shape = read_shape(first.get(2, b""))
    if first[1] == STRING:
        values = [value for number, value in parts if number == 8]
        result = np.empty(int(np.prod(shape)), object)
        result[:] = values * (result.size if len(values) == 1 else 1)  # repeats are left out
        return result.reshape(shape)
    return np.frombuffer(first[4], np.float32).reshape(shape)  # tensor_content


def read_warmup(record):
    """A serialized PredictionLog: (signature, {input: array})."""
    (kind, log), *_ = (pair for pair in fields(record) if pair[0] != 1)
    request = list(fields(dict(fields(log))[1]))
    signature = dict(fields(dict(request)[1]))[3].decode()
    if kind == 6:  # predict_log
        tensors = (entry(value) for number, value in request if number == 2)
        return signature, {key: read_tensor(value) for key, value in tensors}
    if kind != 2:  # classify_log
        raise ValueError(f"A warm-up record is of kind {kind}, neither Predict nor Classify.")
    examples = dict(fields(dict(request)[2]))[1]
    return signature, {"inputs": strings(value for _, value in fields(examples))}


def strings(contents):
    """Array of bytes objects."""
    contents = list(contents)
    result = np.empty(len(contents), object)
    result[:] = contents
    return result


def example_of(file):
    """A serialized tf.Example with `file` as its feature `image_bytes`."""

    def field(number, content):
        length, size = b"", len(content)
        while size > 127:
            length += bytes([size & 127 | 128])
            size >>= 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    feature = field(1, field(1, file))  # Feature.bytes_list.value
    return field(1, field(1, field(1, b"image_bytes") + field(2, feature)))


class Verification:
    """The checks of one export, in order; each gives a line, the first that fails raises.

    Args:
        export: the SavedModel's folder.
        library: libtensorflow_cc or a folder that holds it, None for the installed one.
    """

    def __init__(self, export, library=None):
        self.export = Path(export)
        start = time.perf_counter()
        self.session = Session(export, library)
        self.seconds = time.perf_counter() - start

    def lines(self):
        """Yield a line for each check that the export passed.

        Raises:
            ValueError: a check failed; the message says which.
        """
        yield f"opened by TensorFlow {self.session.version}'s C loader in {self.seconds:.1f} s"
        yield self.check_assets()
        yield self.check_signatures()
        yield self.check_operations()
        for signature in CONTRACT:
            yield self.check_answers(signature)
        yield self.check_marks()
        yield self.check_warmup()

    def check_assets(self):
        """The labels, the card, the settings and the Keras model's answers are there."""
        assets = self.export / "assets"
        names = ("labels.txt", "model_card.md", "config.json", "expected.npz")
        missing = [name for name in names if not (assets / name).exists()]
        if missing:
            raise ValueError(f"{assets} lacks {', '.join(missing)}; export the run again.")
        self.labels = (assets / "labels.txt").read_text().split()
        about = json.loads((assets / "config.json").read_text())
        with np.load(assets / "expected.npz") as expected:
            self.expected = dict(expected)
        # What the contract's names of sizes stand for.
        self.sizes = {"classes": len(self.labels), "size": self.expected["image"].shape[1]}
        accuracy = about["accuracy"]
        judged = "not judged" if accuracy is None else f"{accuracy:.2%} on {about['judged_on']}"
        return f"{len(self.labels)} labels; {about['dataset']}, {judged}"

    def check_signatures(self):
        """Names, types and shapes are those of the contract."""
        found = self.session.signatures
        if set(found) != set(CONTRACT):
            raise ValueError(f"The signatures are {sorted(found)}, not {sorted(CONTRACT)}.")
        for name, sides in CONTRACT.items():
            for side, wanted in zip(("inputs", "outputs"), sides, strict=True):
                described = {
                    key: (dtype, (-1, *(self.sizes.get(one, one) for one in shape)))
                    for key, (dtype, shape) in wanted.items()
                }
                got = {key: (place.dtype, place.shape) for key, place in found[name][side].items()}
                if got != described:
                    raise ValueError(f"{name}'s {side} are {got}, not {described}.")
        return f"{len(CONTRACT)} signatures, inputs and outputs as in the contract"

    def check_operations(self):
        """All kinds of operations are stock, and none is denied."""
        (model,) = (
            value
            for number, value in fields((self.export / "saved_model.pb").read_bytes())
            if number == 2
        )
        graph = dict(fields(model))[2]
        tensors = [
            place.tensor
            for signature in self.session.signatures.values()
            for place in signature["outputs"].values()
        ]
        used = reachable_operations(graph, tensors)
        denied = used & set().union(*DENIED, {"XlaMustCompile"})
        if denied:
            raise ValueError(f"The signatures use {', '.join(sorted(denied))}: not for a server.")
        unknown = used - self.session.stock
        if unknown:
            raise ValueError(f"A stock server has no {', '.join(sorted(unknown))}.")
        return f"{len(used)} kinds of operations, all stock; none calls Python, files or XLA"

    def inputs(self, signature, count):
        """The first `count` of the expected faces, as a signature takes them."""
        key = next(iter(CONTRACT[signature][0]))
        if key == "image":
            return {key: self.expected["image"][:count].astype(np.float32)}
        files = map(bytes, self.expected["files"][:count])
        return {key: strings(map(example_of, files) if key == "inputs" else files)}

    def check_answers(self, signature):
        """At batches of 0, 1 and 3 the shapes are right and the answers the Keras model's."""
        worst = 0.0
        for count in (0, 1, 3):
            got = self.session.call(signature, self.inputs(signature, count))
            for key, (_, shape) in CONTRACT[signature][1].items():
                wanted = (count, *(self.sizes[one] for one in shape))
                if got[key].shape != wanted:
                    raise ValueError(f"{signature}'s {key} is {got[key].shape}, not {wanted}.")
            worst = max(worst, self.compare(signature, got, count))
        return f"{signature:<15} at batch 0, 1, 3; from the Keras model at most {worst:.1g}"

    def compare(self, signature, got, count):
        """Largest difference from what the Keras model says.

        Raises:
            ValueError: it is above the tolerance, or a class has another's name.
        """
        expected = self.expected["probabilities"][:count]
        names = [self.labels[i].encode() for i in expected.argmax(axis=1)]
        if signature == "classify":
            pairs = [(got["scores"], expected)]
            rows = got["classes"].tolist()
            named = rows == [[label.encode() for label in self.labels]] * count
        else:
            pairs = [(got["probabilities"], expected)]
            named = got["class_name"].tolist() == names and got["valid"].all()
            named = named and got["class_id"].tolist() == expected.argmax(axis=1).tolist()
        if "saliency" in got:
            pairs.append((got["saliency"], self.expected["saliency"][:count]))
            # A window on the verge may fall to either side of it.
            changed = got["decisive"] != self.expected["decisive"][:count]
            if count and changed.mean() > 0.03:
                raise ValueError(f"{signature}'s decisive regions differ from the Keras model's.")
        worst = max((float(np.abs(a - b).max()) for a, b in pairs if count), default=0.0)
        # Written so that NaN fails too.
        if not worst <= TOLERANCE:
            raise ValueError(f"{signature} differs from the Keras model by {worst:.2g}.")
        if not named:
            raise ValueError(f"{signature} names the classes wrongly.")
        return worst

    def check_marks(self):
        """A row that cannot be judged is marked, and the row beside it answered as if alone."""
        good = bytes(self.expected["files"][0])
        bad = (b"", b"a text", good[: len(good) // 2], b"\xff\xd8\xff\xe0", good[:20])
        for signature in ("predict_bytes", "saliency_bytes", "classify"):
            rows = [*bad, good]
            if signature == "classify":
                rows = [*map(example_of, rows), b"no Example"]
            key = next(iter(CONTRACT[signature][0]))
            self.check_rows(signature, {key: strings(rows)}, len(bad))
        face = self.expected["image"][0].astype(np.float32)
        rows = np.stack([face * np.nan, face - 300, face + 256, face])
        for signature in ("serving_default", "saliency"):
            self.check_rows(signature, {"image": rows}, 3)
        return "what cannot be judged is marked, and the face beside it answered"

    def check_rows(self, signature, inputs, good):
        """Only row `good` is answered."""
        got = self.session.call(signature, inputs)
        found = got["scores" if signature == "classify" else "probabilities"]
        marked = np.delete(found, good, axis=0)
        alone = self.expected["probabilities"][0]
        # Written so that NaN fails too.
        if marked.any() or not np.abs(found[good] - alone).max() <= TOLERANCE:
            raise ValueError(f"{signature} does not keep good rows apart from bad ones.")
        if signature != "classify" and np.flatnonzero(got["valid"]).tolist() != [good]:
            raise ValueError(f"{signature} marks {got['valid'].tolist()}.")

    def check_warmup(self):
        """Each warm-up record is answered, and each signature has one."""
        file = self.export / WARMUP_FILE
        if not file.exists():
            raise ValueError(f"{file} is missing; export the run again.")
        seen = []
        for record in read_records(file):
            signature, inputs = read_warmup(record)
            got = self.session.call(signature, inputs)
            if not got.get("valid", np.True_).all():
                raise ValueError(f"A warm-up record of {signature} holds what cannot be judged.")
            seen.append(signature)
        if set(seen) != set(CONTRACT):
            raise ValueError(f"The warm-up has no record of {sorted(set(CONTRACT) - set(seen))}.")
        return f"{len(seen)} warm-up records replayed, one or more for each signature"


def verify(export, library=None):
    """Check an export in a clean process.

    Args:
        export: the SavedModel's folder: a version's.
        library: libtensorflow_cc of any TensorFlow, or a folder that holds it (an unpacked wheel);
            None for the installed one's.

    Yields:
        A line for each check that the export passed, as it is passed.

    Raises:
        FileNotFoundError: the folder is no SavedModel.
        ValueError: a check failed, or the loader did not survive it; the message says which.
    """
    if not (Path(export) / "saved_model.pb").exists():
        raise FileNotFoundError(
            f"{export} is no export: it holds no saved_model.pb. Name a version's folder, such as "
            "exports/NAME/1."
        )
    package = Path(__file__).parent.parent
    search = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(export), str(library or "")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": search},
        )
        with child:
            for line in child.stdout:
                kind, text = json.loads(line)
                if kind == "failed":
                    raise ValueError(text)
                yield text
        if child.returncode:
            log.seek(0)
            last = log.read().strip().splitlines()[-1:]
            raise ValueError(f"The C loader ended with status {child.returncode}: {''.join(last)}")


def main(export, library):
    """Child of `verify`: a JSON array of kind and text for each check, on standard output."""
    # What TensorFlow prints goes elsewhere.
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(2, 1)
        try:
            for line in Verification(export, library or None).lines():
                print(json.dumps(["passed", line]), file=told, flush=True)
        except (ValueError, FileNotFoundError) as error:
            print(json.dumps(["failed", str(error)]), file=told, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
