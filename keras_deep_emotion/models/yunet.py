"""YuNet, the face detector, as a Keras model.

Source: Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023. OpenCV runs it for
photos in this process; exports need it as layers.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

STRIDES = (8, 16, 32)  # pixels of the image for each place of an output


def build_yunet(weights: str | Path) -> keras.Model:
    """Build YuNet with the weights of its ONNX file.

    Input: (batch, height, width, 3) BGR levels 0..255, sides that are multiples of 32. Outputs, for
    each of `STRIDES`: (batch, height / stride, width / stride, 15), for each place the offset of a
    box's center and the logarithms of its width and height, in strides; the offsets of the five
    landmarks; the score.

    Raises:
        ModuleNotFoundError: If the package onnx is not installed.
        ValueError: If the file has operations that YuNet does not have.
    """
    import onnx

    graph = onnx.load(weights).graph
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    image = keras.Input((None, None, 3), name="image")
    tensors = {graph.input[0].name: image}
    for node in graph.node:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        inputs = [tensors[name] for name in node.input if name in tensors]
        arrays = [constants[name] for name in node.input if name in constants]
        tensors[node.output[0]] = _apply(node.op_type, inputs, arrays, attributes)
    outputs = []
    for stride in STRIDES:
        box, points, cls, obj = (
            tensors[f"{name}_{stride}"] for name in ("bbox", "kps", "cls", "obj")
        )
        outputs.append(ops.concatenate([box, points, ops.sqrt(cls * obj)], axis=-1))
    return keras.Model(image, outputs, name="yunet")


def _apply(operation, inputs, arrays, attributes):
    """Apply an operation of ONNX to tensors; the channels are last here, and second there."""
    first = inputs[0]
    if operation == "Conv":
        return _convolve(first, *arrays, attributes)
    if operation == "MaxPool":
        return layers.MaxPooling2D(2)(first)
    if operation == "Resize":
        return layers.UpSampling2D(2, interpolation="nearest")(first)
    if operation == "Relu":
        return ops.relu(first)
    if operation == "Sigmoid":
        return ops.sigmoid(first)
    if operation == "Add":
        return first + inputs[1]
    if operation in ("Transpose", "Reshape"):  # to channels last, and to a list of places
        return first
    raise ValueError(f"YuNet has no operation {operation}.")


def _convolve(image, kernel, bias, attributes):
    """Convolve; a kernel of ONNX is (filters, channels, height, width)."""
    if attributes["pads"] != [0, 0, 0, 0]:  # the padding "same" is another where strides are 2
        image = layers.ZeroPadding2D(attributes["pads"][0])(image)
    kernel = np.transpose(kernel, (2, 3, 1, 0))
    settings = {"strides": attributes["strides"][0], "padding": "valid"}
    if attributes["group"] == 1:
        layer = layers.Conv2D(kernel.shape[3], kernel.shape[0], **settings)
    else:
        layer = layers.DepthwiseConv2D(kernel.shape[0], **settings)
        kernel = np.transpose(kernel, (0, 1, 3, 2))
    output = layer(image)
    layer.set_weights([kernel, bias])
    return output
