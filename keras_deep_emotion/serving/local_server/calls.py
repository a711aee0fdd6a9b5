"""What the server does with a request, whichever way it came: predict, classify, metadata, status.

Texts, codes and the order of checks are those of tensorflow_serving/servables/tensorflow
(predict_util, classifier, regressor, util, get_model_metadata_impl) and of
model_servers/get_model_status_impl, with the server's default settings.
"""

import numpy as np
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    regression_pb2,
)

from keras_deep_emotion.serving.local_server.errors import ServingError, invalid
from keras_deep_emotion.serving.local_server.versions import as_array

DEFAULT = "serving_default"


def check_model_spec(request):
    """Refuse a request that does not say which model it is for."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def fill_model_spec(spec, request_spec, version):
    """Say in a response which model, version and signature answered."""
    spec.name = request_spec.name
    spec.signature_name = request_spec.signature_name or DEFAULT
    spec.version.value = version.number


def joined(names):
    """Names in braces, sorted, as the server lists them."""
    return "{" + ",".join(sorted(names)) + "}"


def signature_inputs(versions, spec):
    """{name: TensorInfo} of a signature's inputs, for reading JSON.

    Args:
        versions: `Versions`.
        spec: ModelSpec, with the signature's name.

    Raises:
        Refusal: there is no such model or signature.
    """
    name = spec.signature_name or DEFAULT
    with versions.use(spec) as version:
        if name not in version.signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        found = dict(version.signatures[name].inputs)
    if not found:
        raise invalid(f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}")
    return found


def predict(versions, spec, inputs, output_filter=(), answered=None):
    """Run a signature.

    Args:
        versions: `Versions`.
        spec: ModelSpec.
        inputs: {name: array or TensorProto}.
        output_filter: names of the outputs wanted, empty for all.
        answered: ModelSpec of the response to fill, or None.

    Returns:
        {name: array}.

    Raises:
        Refusal: as the server refuses.
    """
    name = spec.signature_name or DEFAULT
    with versions.use(spec) as version:
        if name not in version.signatures:
            raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        signature = version.signatures[name]
        expected = set(signature.inputs)
        if len(inputs) != len(expected):
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(expected)} "
                f"len({joined(inputs)}) != len({joined(expected)}). "
                f"Sent extra: {joined(set(inputs) - expected)}. "
                f"Missing but required: {joined(expected - set(inputs))}."
            )
        arrays = {}
        for alias, value in inputs.items():
            if alias not in expected:
                raise invalid(
                    f"input tensor alias not found in signature: {alias}. "
                    f"Inputs expected to be in the set {joined(expected)}."
                )
            is_array = isinstance(value, np.ndarray)
            arrays[alias] = value if is_array else as_array(value, alias)
        for place, alias in enumerate(output_filter):
            if alias not in signature.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {alias} "
                    f"Outputs expected to be in the set {joined(signature.outputs)}."
                )
            if alias in output_filter[:place]:
                raise invalid(f"duplicate output tensor alias: {alias}")
        if answered is not None:
            fill_model_spec(answered, spec, version)
        with versions.room():
            outputs = version.run(signature, arrays)
    return {alias: outputs[alias] for alias in output_filter or outputs}


def serialized_examples(request_input):
    """Object array of the serialized tf.Examples of a request's Input.

    Raises:
        Refusal: there are none.
    """
    kind = request_input.WhichOneof("kind")
    examples = getattr(request_input, kind).examples if kind else []
    if not examples:
        raise invalid("Input is empty.")
    context = b""
    if kind == "example_list_with_context":
        context = request_input.example_list_with_context.context.SerializeToString()
    # Two serialized messages in a row are the two merged.
    serialized = [context + example.SerializeToString() for example in examples]
    array = np.empty(len(serialized), object)
    array[:] = serialized
    return array


def named_signature(version, spec):
    """The signature that a request for :classify or :regress names."""
    name = spec.signature_name or DEFAULT
    if name not in version.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    signature = version.signatures[name]
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    return signature


def shape_text(array):
    """A shape as TensorFlow's C++ prints it."""
    return "[" + ",".join(map(str, array.shape)) + "]"


def classify(versions, request):
    """Answer a ClassificationRequest: tf.Examples in, classes with scores out.

    Raises:
        Refusal: as the server refuses.
    """
    check_model_spec(request)
    response = classification_pb2.ClassificationResponse()
    with versions.use(request.model_spec) as version:
        signature = named_signature(version, request.model_spec)
        count = len(signature.outputs)
        if count not in (1, 2):
            raise invalid(f"Expected one or two output Tensors, found {count}")
        if "inputs" not in signature.inputs:
            raise invalid(f"No classification inputs found in SignatureDef: {signature}")
        if not {"classes", "scores"} & set(signature.outputs):
            raise invalid(
                "Expected classification signature outputs to contain at least one of "
                f'"classes" or "scores". Signature was: {signature}'
            )
        examples = serialized_examples(request.input)
        with versions.room():
            outputs = version.run(signature, {"inputs": examples})
        fill_model_spec(response.model_spec, request.model_spec, version)
    for name, dtype, text in (("classes", object, "STRING"), ("scores", np.float32, "FLOAT")):
        if name not in outputs:
            continue
        if outputs[name].ndim != 2:
            raise invalid(
                "Expected Tensor shape: [batch_size num_classes] but got "
                f"{shape_text(outputs[name])}"
            )
        if outputs[name].dtype != dtype:
            raise invalid(f"Expected {name} Tensor of DT_{text}. Got: {outputs[name].dtype}")
        if len(outputs[name]) != len(examples):
            raise invalid(
                f"Expected {name} output batch size of {len(examples)}. Got: {len(outputs[name])}"
            )
    classes, scores = outputs.get("classes"), outputs.get("scores")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    for row in range(len(examples)):
        added = response.result.classifications.add()
        for column in range((scores if classes is None else classes).shape[1]):
            one = added.classes.add()
            if classes is not None:
                one.label = classes[row, column].decode(errors="replace")
            if scores is not None:
                one.score = scores[row, column]
    return response


def regress(versions, request):
    """Answer a RegressionRequest; no export of this package has a signature for it.

    Raises:
        Refusal: as the server refuses.
    """
    check_model_spec(request)
    response = regression_pb2.RegressionResponse()
    with versions.use(request.model_spec) as version:
        signature = named_signature(version, request.model_spec)
        if len(signature.outputs) != 1:
            raise invalid("Expected one output Tensor.")
        for names, key in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
            if key not in names:
                raise invalid(f"No regression {key} found in SignatureDef: {signature}")
        examples = serialized_examples(request.input)
        with versions.room():
            values = version.run(signature, {"inputs": examples})["outputs"]
        fill_model_spec(response.model_spec, request.model_spec, version)
    if values.shape not in ((len(examples),), (len(examples), 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values)}"
        )
    for value in values.ravel():
        response.result.regressions.add().value = value
    return response


def metadata(versions, request):
    """Answer a GetModelMetadataRequest.

    Raises:
        Refusal: as the server refuses.
    """
    check_model_spec(request)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != "signature_def":
            # The %s is the server's own.
            raise invalid(f"Metadata field %s is not supported{field}")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with versions.use(request.model_spec) as version:
        response.model_spec.name = versions.name
        response.model_spec.version.value = version.number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response


def status(versions, request):
    """Answer a GetModelStatusRequest; a label in it counts for nothing, as with the server.

    Raises:
        Refusal: as the server refuses.
    """
    check_model_spec(request)
    spec = request.model_spec
    states = versions.states() if spec.name == versions.name else {}
    if spec.HasField("version"):
        number = spec.version.value
        if number not in states:
            raise ServingError("NOT_FOUND", f"Could not find version {number} of model {spec.name}")
        states = {number: states[number]}
    if not states:
        raise ServingError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, (state, code, message) in states.items():
        added = response.model_version_status.add(version=number)
        added.state = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        added.status.error_message = message
        codes = added.status.DESCRIPTOR.fields_by_name["error_code"].enum_type
        added.status.error_code = codes.values_by_name[code].number
    return response


def example_input(context, examples):
    """Input of a request for :classify or :regress.

    Args:
        context: tf.train.Example that is merged into each, or None.
        examples: tf.train.Examples.
    """
    made = input_pb2.Input()
    if context is not None:
        made.example_list_with_context.context.CopyFrom(context)
        made.example_list_with_context.examples.extend(examples)
    else:
        made.example_list.examples.extend(examples)
    return made
