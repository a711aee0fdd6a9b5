"""The gRPC side: PredictionService and ModelService of tensorflow-serving-api."""

import functools
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from keras_deep_emotion.serving.local_server import calls
from keras_deep_emotion.serving.local_server.errors import DEFAULT_SIGNATURE, ServingError, invalid
from keras_deep_emotion.serving.ports import url_host

# Fields of a TensorProto by dtype: TensorFlow Serving fills these, and not tensor_content.
FIELDS = {"float32": "float_val", "int64": "int64_val", "bool": "bool_val"}
LONGEST_MESSAGE = 4000  # ours: gRPC drops an answer whose trailing metadata exceed 8 KiB
LARGEST_TENSOR = 2**24  # ours: elements that a TensorProto of fewer bytes may claim


def to_array(proto, name):
    """Array of a TensorProto, which the client calls `name`."""
    sizes = [float(dim.size) for dim in proto.tensor_shape.dim]
    # A few bytes may claim any shape; TensorFlow would repeat the last value to fill it.
    if np.prod(sizes) > max(LARGEST_TENSOR, proto.ByteSize()):
        raise ServingError("RESOURCE_EXHAUSTED", f"tensor too large: {name}")
    try:
        if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
            raise ValueError("The shape is unknown.")
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, IndexError, KeyError):  # the last for a type without arrays
        raise invalid(f"tensor parsing error: {name}") from None


def to_proto(array):
    """TensorProto of an array."""
    if array.dtype.name not in FIELDS:
        return tf.make_tensor_proto(array, tf.string if array.dtype == object else None)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, FIELDS[array.dtype.name]).extend(array.ravel().tolist())
    return proto


def rpc_method(method):
    """Check that a request names a model, and report errors to the client."""

    @functools.wraps(method)
    def call(service, request, context):
        try:
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            spec = request.model_spec
            spec.signature_name = spec.signature_name or DEFAULT_SIGNATURE
            return method(service, request)
        except ServingError as error:
            context.abort(getattr(grpc.StatusCode, error.code), error.message[:LONGEST_MESSAGE])

    return call


class PredictionService(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Both services of `ModelVersions`; methods that are not here are UNIMPLEMENTED."""

    def __init__(self, versions):
        self.versions = versions

    @rpc_method
    def Predict(self, request):
        """Run a signature on tensors."""
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        with self.versions.use(request.model_spec) as version:
            signature = version.signature(request.model_spec.signature_name)
            inputs = {name: to_array(proto, name) for name, proto in request.inputs.items()}
            outputs = version.run(signature, inputs, request.output_filter)
        response.model_spec.version.value = version.number
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(to_proto(array))
        return response

    @rpc_method
    def Classify(self, request):
        """Classes and scores of tf.Examples."""
        kind = request.input.WhichOneof("kind")
        examples = getattr(request.input, kind).examples if kind else []
        context = request.input.example_list_with_context.context
        return calls.classify(self.versions, request.model_spec, examples, context)

    @rpc_method
    def GetModelMetadata(self, request):
        """The signatures of a version."""
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid("The metadata_field must be signature_def.")
        return calls.metadata(self.versions, request.model_spec)

    @rpc_method
    def GetModelStatus(self, request):
        """The states of the model's versions."""
        return calls.status(self.versions, request.model_spec)


def start_rpc(versions, host, port, max_bytes, parallel):
    """Start the gRPC server; return it and its port. It holds four times `parallel` requests."""
    server = grpc.server(
        futures.ThreadPoolExecutor(parallel, "rpc"),
        maximum_concurrent_rpcs=4 * parallel,
        options=[
            ("grpc.max_receive_message_length", max_bytes),  # or RESOURCE_EXHAUSTED
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # or a second server would silently share the port
        ],
    )
    service = PredictionService(versions)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    bound = server.add_insecure_port(f"{url_host(host)}:{port}")
    server.start()
    return server, bound
