"""Face detection and cropping as graph code of TensorFlow, for exports.

It finds the faces that `faces` finds, and crops the same pixels; a test holds the two together.
"""

import math

import keras
import tensorflow as tf

from keras_deep_emotion.images.faces import (
    AVERAGED,
    BELOW_EYES,
    COARSE,
    FINE,
    MAX_CROP,
    MIN_INPUT,
    MIN_SCORE,
    OVERLAP,
    SIDE,
    SMALL,
    SMALL_SCORE,
    SURE,
    TURNED_SCORE,
)
from keras_deep_emotion.models.yunet import STRIDES

CANDIDATES = 256  # ours: most faces that are told apart in a photo
MULTIPLE = 32  # pixels, of the sides of YuNet's input
QUARTER = math.pi / 2


def detect_faces(yunet: keras.Model, image: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Detect the faces in a photo as `faces.Detector.find` does; the largest comes first.

    Args:
        yunet: The detector, see `models.yunet`.
        image: (height, width, 3) uint8, RGB.
        most: Faces to return at most.

    Returns:
        Boxes (faces, 4) float32: x, y, width and height, and landmarks (faces, 5, 2), in pixels.
    """
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    longer = tf.reduce_max(shape)
    large = _shrink(image, FINE)
    small = _shrink(large, COARSE)

    second = tf.reduce_max(tf.shape(large)) > COARSE
    side = tf.cast(tf.reduce_max(tf.shape(small)), tf.float64)

    # A function, to be traced once: five calls follow.
    @tf.function(
        input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)],
        autograph=False,
    )
    def find(one, turn):
        return _pass(yunet, tf.image.rot90(one, -turn), longer)

    def in_photo(turn):
        fine = tf.cond(second, lambda: find(large, turn), lambda: tf.zeros((0, 15)))
        return [fine, find(small, turn)]

    def in_averages(turn):
        return [find(_shrink(small, tf.round(part * side)), turn) for part in AVERAGED]

    rows, turn = _best_turn(in_photo)
    rows, turn = tf.cond(
        tf.shape(rows)[0] > 0, lambda: (rows, turn), lambda: _best_turn(in_averages)
    )
    boxes, landmarks = _turn_back(rows, turn, shape)
    order = tf.argsort(boxes[:, 2] * boxes[:, 3], direction="DESCENDING", stable=True)[:most]
    return tf.gather(boxes, order), tf.gather(landmarks, order)


def _best_turn(find):
    """As `faces.Detector._best_turn`: its rows, and the turn in quarters, clockwise.

    `find(turn)` returns the rows of each pass.
    """

    def search(turn, best, best_turn):
        rows = tf.concat(find(turn), 0)
        corners = tf.concat([rows[:, 1::-1], rows[:, 1::-1] + rows[:, 3:1:-1]], axis=1)
        kept = tf.image.non_max_suppression(corners, rows[:, 14], CANDIDATES, OVERLAP)
        rows = tf.gather(rows, kept)
        least = tf.where(turn == 0, 0.0, TURNED_SCORE)
        score = _highest_score(rows)
        better = (score >= least) & (score > _highest_score(best))
        best = tf.cond(better, lambda: rows, lambda: best)
        return turn + 1, best, tf.where(better, turn, best_turn)

    _, rows, turn = tf.while_loop(
        lambda turn, best, best_turn: (turn < 4) & (_highest_score(best) < SURE),
        search,
        (0, tf.zeros((0, 15)), 0),
        shape_invariants=(tf.TensorShape(()), tf.TensorShape((None, 15)), tf.TensorShape(())),
    )
    return rows, turn


def _highest_score(rows):
    return tf.reduce_max(tf.pad(rows[:, 14], [[0, 1]]))


def _shrink(image, longest):
    """As `faces._shrink`: an image whose longer side has at most so many pixels."""
    shape = tf.shape(image)[:2]
    scale = tf.cast(longest, tf.float64) / tf.cast(tf.reduce_max(shape), tf.float64)
    size = tf.cast(tf.round(tf.cast(shape, tf.float64) * scale), tf.int32)
    size = tf.maximum(1, size)

    def resize():
        resized = tf.image.resize(image, size, method="area")
        return tf.cast(tf.round(resized), tf.uint8)

    return tf.cond(scale >= 1, lambda: image, resize)


def _pass(yunet, image, longer):
    """As `faces.Detector._pass`; OpenCV's decoding of YuNet's outputs."""
    shape = tf.shape(image)[:2]
    size = tf.cast(tf.reduce_max(shape), tf.float32)
    padded = tf.maximum(MIN_INPUT, -(-shape // MULTIPLE) * MULTIPLE)
    image = tf.pad(image, [[0, padded[0] - shape[0]], [0, padded[1] - shape[1]], [0, 0]])
    image = tf.cast(image[..., ::-1], tf.float32)  # OpenCV's BGR
    outputs = yunet(image[None], training=False)
    rows = tf.concat([_decode(out[0], step) for out, step in zip(outputs, STRIDES, strict=True)], 0)
    least = tf.where(tf.reduce_max(rows[:, 2:4], axis=1) < SMALL, SMALL_SCORE, MIN_SCORE)
    rows = tf.boolean_mask(rows, rows[:, 14] >= least)
    return tf.concat([rows[:, :14] * (longer / size), rows[:, 14:]], axis=1)


def _decode(output, stride):
    """Rows of an output of YuNet, (height, width, 15): box, landmarks, score."""
    rows, columns = tf.shape(output)[0], tf.shape(output)[1]
    place = tf.stack(tf.meshgrid(tf.range(columns), tf.range(rows)), axis=-1)  # x, y
    place = tf.cast(tf.reshape(place, (-1, 2)), tf.float32)
    output = tf.reshape(output, (-1, 15))
    sides = tf.exp(output[:, 2:4]) * stride
    start = (place + output[:, :2]) * stride - sides / 2
    landmarks = (output[:, 4:14] + tf.tile(place, (1, 5))) * stride
    return tf.concat([start, sides, landmarks, output[:, 14:]], axis=1)


def _turn_back(rows, turn, shape):
    """As `faces._to_face`: boxes and landmarks in a photo of this (height, width)."""
    points = tf.concat([rows[:, :2], rows[:, :2] + rows[:, 2:4], rows[:, 4:14]], axis=1)
    x, y = points[:, ::2], points[:, 1::2]
    height, width = shape[0], shape[1]
    x, y = tf.switch_case(
        turn,
        [
            lambda: (x, y),
            lambda: (y, height - x),
            lambda: (width - x, height - y),
            lambda: (width - y, x),
        ],
    )
    points = tf.stack([x, y], axis=-1)  # (faces, 7, 2)
    start = tf.minimum(points[:, 0], points[:, 1])
    sides = tf.abs(points[:, 1] - points[:, 0])
    return tf.concat([start, sides], axis=1), points[:, 2:]


def crop(image: tf.Tensor, box: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
    """Crop a face as `faces.crop` does: (width, width, 3) uint8.

    Args:
        image: (height, width, 3) uint8.
        box: (4,) x, y, width and height.
        landmarks: (5, 2), the eyes first.
    """
    box, eyes = tf.cast(box, tf.float64), tf.cast(landmarks[:2], tf.float64)
    one = tf.constant(1, tf.float64)
    side = tf.maximum(one, SIDE * tf.sqrt(box[2] * box[3]))
    between = eyes[1] - eyes[0]
    angle = tf.atan2(between[1], between[0])
    cosine, sine = tf.cos(angle), tf.sin(angle)
    center = tf.reduce_mean(eyes, axis=0) + BELOW_EYES * side * tf.stack([-sine, cosine])

    width = tf.clip_by_value(tf.round(side), 1, MAX_CROP)
    scale = tf.maximum(one, tf.floor(side / width))
    reach = (tf.abs(cosine) + tf.abs(sine)) * side / 2 + 2 * scale
    start = tf.floor(center - reach)
    blocks = tf.cast(tf.math.ceil(2 * reach / scale + 1), tf.int32)
    part = _average_blocks(image, start, blocks, tf.cast(scale, tf.int32))

    step = side / width / scale
    right, below = step * cosine, step * sine
    corner = (center - start) / scale - tf.stack([right - below, below + right]) * width / 2
    place = tf.range(width) + 0.5
    x = right * place - below * place[:, None] + corner[0]
    y = below * place + right * place[:, None] + corner[1]
    return _interpolate(part, x - 0.5, y - 0.5)


def _average_blocks(image, start, blocks, scale):
    """Averages of blocks of scale x scale pixels from (x, y): (blocks, blocks, 3) float64.

    Beyond the image its edge is repeated.
    """
    shape = tf.shape(image)
    first = tf.cast(start, tf.int32)
    places = tf.range(blocks * scale)
    columns = tf.clip_by_value(first[0] + places, 0, shape[1] - 1)
    rows = tf.clip_by_value(first[1] + places, 0, shape[0] - 1)
    part = tf.gather(tf.gather(image, rows), columns, axis=1)
    # One side after the other: the part may be as large as the image.
    part = tf.reshape(part, (blocks, scale, blocks * scale, 3))
    part = tf.reduce_sum(tf.cast(part, tf.int32), axis=1)
    part = tf.reduce_sum(tf.reshape(part, (blocks, blocks, scale, 3)), axis=2)
    # As Pillow divides: it multiplies by the reciprocal in 24 bits.
    count = scale * scale
    reciprocal = tf.cast(2.0**24 / tf.cast(count, tf.float32), tf.int64)
    part = tf.cast(part + count // 2, tf.int64) * reciprocal
    return tf.cast(tf.bitwise.right_shift(part, tf.constant(24, tf.int64)), tf.float64)


def _interpolate(part, x, y):
    """Bicubic interpolation of (n, n, 3) at places (width, width), as Pillow's `transform` does."""
    left, top = tf.floor(x), tf.floor(y)
    columns, rows = tf.cast(left, tf.int32), tf.cast(top, tf.int32)
    last = tf.shape(part)[0] - 1

    def cubic(values, distance):
        one, two, three, four = values
        second, third = three - one, 2 * (one - two) + three - four
        fourth = two - one + four - three
        return two + distance * (second + distance * (third + distance * fourth))

    def row(offset):
        at = tf.clip_by_value(rows + offset, 0, last)
        places = (tf.clip_by_value(columns + i, 0, last) for i in range(-1, 3))
        values = [tf.gather_nd(part, tf.stack([at, place], axis=-1)) for place in places]
        return cubic(values, (x - left)[..., None])

    values = cubic([row(offset) for offset in range(-1, 3)], (y - top)[..., None])
    return tf.cast(tf.clip_by_value(values, 0, 255), tf.uint8)
