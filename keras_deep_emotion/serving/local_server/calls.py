"""Classify, GetModelMetadata and GetModelStatus, for REST and gRPC alike.

Status codes are those of tensorflow_serving/servables/tensorflow and model_servers. Errors are
`ServingError`.
"""

import numpy as np
from tensorflow_serving.apis.classification_pb2 import ClassificationResponse
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from keras_deep_emotion.serving.local_server.errors import ServingError, invalid


def classify(versions, spec, examples, context, check=lambda: None):
    """Run a signature for classification on tf.train.Examples; each is merged with the context.

    `check` is called now and then; it raises when the time for the call is over.
    """
    if not examples:
        raise invalid("The input has no 'examples'.")
    serialized, shared = [], context.SerializeToString()
    for example in examples:
        check()
        # Two serialized messages in a row are the two merged.
        serialized.append(shared + example.SerializeToString())
    with versions.use(spec) as version:
        signature = version.signature(spec.signature_name, "INVALID_ARGUMENT")
        inputs = {"inputs": np.array(serialized, object)}
        outputs = version.run(signature, inputs, ("classes", "scores"))
    response = ClassificationResponse(model_spec=spec)
    response.model_spec.version.value = version.number
    for labels, scores in zip(outputs["classes"], outputs["scores"], strict=True):
        check()
        result = response.result.classifications.add()
        for label, score in zip(labels, scores, strict=True):
            result.classes.add(label=label.decode(errors="replace"), score=score)
    return response


def metadata(versions, spec):
    """The signatures of a version."""
    with versions.use(spec) as version:
        signatures = SignatureDefMap(signature_def=version.signatures)
    answered = {"name": versions.name, "version": {"value": version.number}}
    response = GetModelMetadataResponse(model_spec=answered)
    response.metadata["signature_def"].Pack(signatures)
    return response


def status(versions, spec):
    """The states of one or all versions; a label is ignored, as by TensorFlow Serving."""
    states = versions.states() if spec.name == versions.name else {}
    wanted = "any versions"
    if spec.HasField("version"):
        wanted = f"version {spec.version.value}"
        states = {n: state for n, state in states.items() if n == spec.version.value}
    if not states:
        raise ServingError("NOT_FOUND", f"Could not find {wanted} of model {spec.name}")
    response = GetModelStatusResponse()
    for number, (state, code, message) in states.items():
        error = {"error_code": code, "error_message": message}
        response.model_version_status.add(version=number, state=state, status=error)
    return response
