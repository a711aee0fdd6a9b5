"""Predict, Classify, GetModelMetadata and GetModelStatus, for REST and gRPC alike.

Status codes are those of tensorflow_serving/servables/tensorflow and model_servers. Errors are
`ServingError`.
"""

from tensorflow_serving.apis.classification_pb2 import ClassificationResponse
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataResponse,
    SignatureDefMap,
)
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from keras_deep_emotion.serving.local_server.errors import ServingError, invalid

DEFAULT_SIGNATURE = "serving_default"


def fill_model_spec(spec, version, request_spec):
    """Write into a response which model, version and signature answered."""
    spec.name = request_spec.name
    spec.signature_name = request_spec.signature_name or DEFAULT_SIGNATURE
    spec.version.value = version.number


def predict(version, signature, inputs, output_filter=()):
    """Run a signature on {name: array}; return {name: array} of the outputs in the filter, or all.

    An empty filter stands for all outputs.
    """
    if set(inputs) != set(signature.inputs):
        raise invalid(f"Expected the inputs {sorted(signature.inputs)}. Received: {sorted(inputs)}")
    if sorted(set(output_filter) & set(signature.outputs)) != sorted(output_filter):
        raise invalid(
            f"output_filter must name outputs of {sorted(signature.outputs)}, each once. "
            f"Received: {list(output_filter)}"
        )
    outputs = version.run(signature, inputs)
    return {name: outputs[name] for name in output_filter or outputs}


def classify(versions, spec, examples):
    """Run a signature for classification on an object array of serialized tf.Examples."""
    response = ClassificationResponse()
    with versions.use(spec) as version:
        signature = version.signature(spec.signature_name or DEFAULT_SIGNATURE, "INVALID_ARGUMENT")
        if set(signature.inputs) != {"inputs"} or set(signature.outputs) != {"classes", "scores"}:
            raise invalid(
                "Expected a signature with the input 'inputs' and the outputs 'classes' and "
                f"'scores'. Received: {sorted(signature.inputs)} and {sorted(signature.outputs)}"
            )
        outputs = version.run(signature, {"inputs": examples})
        fill_model_spec(response.model_spec, version, spec)
    for labels, scores in zip(outputs["classes"], outputs["scores"], strict=True):
        result = response.result.classifications.add()
        for label, score in zip(labels, scores, strict=True):
            result.classes.add(label=label.decode(errors="replace"), score=score)
    return response


def metadata(versions, spec):
    """The signatures of a version."""
    response = GetModelMetadataResponse()
    signatures = SignatureDefMap()
    with versions.use(spec) as version:
        response.model_spec.name = versions.name
        response.model_spec.version.value = version.number
        for name, signature in version.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response


def status(versions, spec):
    """The states of one or all versions; a label is ignored, as by TensorFlow Serving."""
    states = versions.states() if spec.name == versions.name else {}
    if spec.HasField("version"):
        number = spec.version.value
        if number not in states:
            raise ServingError("NOT_FOUND", f"Could not find version {number} of model {spec.name}")
        states = {number: states[number]}
    if not states:
        raise ServingError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
    response = GetModelStatusResponse()
    for number, (state, code, message) in states.items():
        error = {"error_code": code, "error_message": message}
        response.model_version_status.add(version=number, state=state, status=error)
    return response
