"""What the operations of a SavedModel may do: a model is a program, and runs when it is loaded."""

from collections.abc import Iterable

from google.protobuf.message import DecodeError, Message

from keras_deep_emotion.exports import damaged

# Operations that call Python, touch files, or need the XLA compiler, which the server lacks.
DENIED = {
    "PyFunc", "PyFuncStateless", "EagerPyFunc",
    "ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "RestoreV2", "MergeV2Checkpoints",
    "TextLineDataset", "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDatasetV2",
    "InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "WholeFileReaderV2",
    "SaveDataset", "SaveDatasetV2", "LoadDataset", "DatasetToTFRecord", "CacheDatasetV2",
    "XlaLaunch", "XlaCallModule", "_XlaCompile", "_XlaRun", "_XlaMustCompile",
}  # fmt: skip

# Others that touch files, and that TensorFlow does not mark as stateful.
FILES = {
    "ImmutableConst", "DecodeProtoV2", "EncodeProto", "GenerateVocabRemapping", "DebugIdentity",
    "DebugIdentityV2", "SnapshotDataset", "SnapshotDatasetV2",
}  # fmt: skip
# Of all stateful operations, which may do anything, what exports of this package have.
STATEFUL = {
    "Assert", "DatasetToSingleElement", "If", "ReadVariableOp", "StatefulPartitionedCall",
    "TensorDataset", "VarHandleOp", "While",
}  # fmt: skip


def refuse_programs(path: str) -> None:
    """Raise ValueError if a SavedModel, local or at a URL, could do more than compute.

    Operations that its signatures reach must not be among `DENIED` and `FILES`, and stateful ones
    among `STATEFUL`. Nor may it have what TensorFlow runs while it loads a model: resources such as
    tables of words, and own functions to restore variables.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    with tf.io.gfile.GFile(f"{path}/saved_model.pb", "rb") as file:
        content = file.read()
    try:
        graphs = SavedModel.FromString(content).meta_graphs
    except DecodeError:
        raise damaged(path, "its saved_model.pb is no SavedModel") from None
    reasons = set()
    for graph in graphs:
        operations = reachable_operations(graph.graph_def, graph.signature_def.values())
        reasons |= operations & (DENIED | FILES)
        reasons |= {one for one in operations - STATEFUL if is_stateful(one)}
        objects = graph.object_graph_def.nodes
        if not objects:
            reasons.add("a graph of TensorFlow 1")
        if any(one.WhichOneof("kind") == "resource" for one in objects):
            reasons.add("resources")
        if any(one.saveable_objects for one in objects):
            reasons.add("functions that restore variables")
    if reasons:
        raise ValueError(
            f"{path} is not opened: it could read or write files, or run other code "
            f"({', '.join(sorted(reasons))}). If you trust who made it, repeat with --trust, or "
            "trust=True."
        )


def is_stateful(operation: str) -> bool:
    """Whether an operation does more than compute its outputs, or TensorFlow does not know it."""
    # Not public; seen in TensorFlow 2.21. The list in a SavedModel is by who made it.
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(operation)
    return definition is None or definition.is_stateful


def reachable_operations(graph: Message, signatures: Iterable[Message]) -> set[str]:
    """Names of the operations that SignatureDefs of a GraphDef depend on, in functions too.

    `_XlaMustCompile` is among them if an operation or a function requires compilation.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    inputs = [info.name for signature in signatures for info in signature.outputs.values()]
    waiting = []
    while inputs:
        node = nodes.pop(inputs.pop().lstrip("^").partition(":")[0], None)
        if node is not None:
            inputs += node.input
            waiting.append(node)
    operations, calls = set(), set(functions)
    while waiting:
        node = waiting.pop()
        names = {node.op, *called_functions(node)} & functions.keys()
        called = [functions.pop(name) for name in names]
        waiting += [inner for function in called for inner in function.node_def]
        operations.add(node.op)
        if any(definition.attr["_XlaMustCompile"].b for definition in (node, *called)):
            operations.add("_XlaMustCompile")
    return operations - calls


def called_functions(node: Message) -> list[str]:
    """Names of the functions in a NodeDef's attributes."""
    values = node.attr.values()
    return [one.name for value in values for one in (value.func, *value.list.func)]
