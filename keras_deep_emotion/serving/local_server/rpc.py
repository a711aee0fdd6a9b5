"""The gRPC side: PredictionService and ModelService of tensorflow-serving-api."""

import logging
from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from keras_deep_emotion.serving.local_server.calls import (
    check_model_spec,
    classify,
    metadata,
    predict,
    regress,
    status,
)
from keras_deep_emotion.serving.local_server.errors import ServingError

# Which field of a TensorProto holds values of a type; the server fills these, not tensor_content.
FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int16": "int_val",
    "int8": "int_val",
    "uint8": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}


LONGEST_MESSAGE = 4000  # ours: gRPC drops an answer whose trailing metadata exceed 8 KiB


def as_proto(array):
    """TensorProto of an array, in the form in which the server answers."""
    if array.dtype.name not in FIELDS:
        return tf.make_tensor_proto(array, tf.string if array.dtype == object else None)
    proto = tensor_pb2.TensorProto(dtype=tf.dtypes.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, FIELDS[array.dtype.name]).extend(array.ravel().tolist())
    return proto


def answer(context, call):
    """Result of `call`, or its refusal as gRPC says it."""
    try:
        return call()
    except ServingError as refusal:
        code, message = getattr(grpc.StatusCode, refusal.code), refusal.message
    except Exception as error:  # a bug of ours fails one request, not the server
        logging.exception("a gRPC request failed")
        code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
    context.abort(code, message[:LONGEST_MESSAGE])


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress and GetModelMetadata; the rest is UNIMPLEMENTED.

    Args:
        versions: `Versions`.
    """

    def __init__(self, versions):
        self.versions = versions

    def Predict(self, request, context):
        """Run a signature on tensors."""

        def call():
            check_model_spec(request)
            response = predict_pb2.PredictResponse()
            outputs = predict(
                self.versions,
                request.model_spec,
                dict(request.inputs),
                list(request.output_filter),
                response.model_spec,
            )
            for name, array in outputs.items():
                response.outputs[name].CopyFrom(as_proto(array))
            return response

        return answer(context, call)

    def Classify(self, request, context):
        """Classes and scores of tf.Examples."""
        return answer(context, lambda: classify(self.versions, request))

    def Regress(self, request, context):
        """One number for each tf.Example."""
        return answer(context, lambda: regress(self.versions, request))

    def GetModelMetadata(self, request, context):
        """The signatures of a model."""
        return answer(context, lambda: metadata(self.versions, request))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; the configuration cannot be reloaded (UNIMPLEMENTED).

    Args:
        versions: `Versions`.
    """

    def __init__(self, versions):
        self.versions = versions

    def GetModelStatus(self, request, context):
        """The states of a model's versions."""
        return answer(context, lambda: status(self.versions, request))


def start_rpc(versions, host, port, max_bytes, parallel):
    """Start the gRPC server.

    Args:
        versions: `Versions`.
        host: address to listen at.
        port: port, 0 for a free one.
        max_bytes: longest request; gRPC itself refuses more with RESOURCE_EXHAUSTED.
        parallel: requests worked on at once; four times as many may be in hand.

    Returns:
        (server, port).
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(parallel, "rpc"),
        maximum_concurrent_rpcs=4 * parallel,
        options=[
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # or a second server would share the port without a word
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(versions), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(versions), server)
    bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    server.start()
    return server, bound
