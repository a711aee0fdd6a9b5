"""Emotions as facial action units, and what each unit moves."""

import dataclasses
import random

# Action units of the six basic emotions after the prototypes and variants of P. Ekman and
# W. V. Friesen, "Facial Action Coding System" (1978; Investigator's Guide, with J. C. Hager, 2002).
# Ours: the weights, which make a drawing plain; 19, 31 and 64, which a cartoonist adds.
#   1 inner brow raiser     2 outer brow raiser    4 brow lowerer        5 upper lid raiser
#   6 cheek raiser          7 lid tightener        9 nose wrinkler      10 upper lip raiser
#  12 lip corner puller    15 lip corner depressor 16 lower lip depressor
#  17 chin raiser          19 tongue show          20 lip stretcher     23 lip tightener
#  24 lip pressor          25 lips part            26 jaw drop          31 jaw clencher
#  64 eyes down
ACTION_UNITS = {
    "anger": (
        {4: 1.0, 5: 0.5, 7: 0.8, 15: 0.4, 17: 0.8, 23: 1.0, 24: 1.0},
        {4: 1.0, 5: 0.6, 7: 0.8, 10: 0.6, 15: 0.5, 16: 0.8, 23: 1.0, 25: 0.5, 31: 1.0},
    ),
    "disgust": (
        {4: 0.55, 7: 0.7, 9: 1.0, 10: 1.0, 15: 0.8, 16: 0.6, 19: 1.0, 25: 0.4},
        {4: 0.5, 7: 0.8, 9: 1.0, 10: 1.2, 15: 1.0, 16: 0.5, 19: 0.7, 25: 0.3},
    ),
    "fear": ({1: 1.1, 2: 0.35, 4: 0.35, 5: 1.0, 15: 0.3, 20: 1.0, 25: 0.9, 31: 1.0},),
    "happiness": ({6: 1.0, 12: 1.0, 25: 1.0}, {6: 0.8, 12: 1.1, 25: 1.0, 26: 0.3}),
    "neutral": ({},),
    "sadness": (
        {1: 1.0, 4: 0.3, 15: 1.0, 17: 0.8, 64: 0.6},
        {1: 1.0, 4: 0.2, 15: 1.1, 17: 1.0, 64: 1.0},
    ),
    "surprise": ({1: 1.0, 2: 1.0, 5: 0.8, 25: 0.3, 26: 1.0},),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Expression:
    """Displacements from the face at rest. Lengths in pixels of the 256 x 256 picture.

    Brows and lip corners count upwards; every other length outwards from the rest position.
    """

    brow_inner: float = 0.0
    brow_outer: float = 0.0
    brow_arch: float = 0.0
    brow_squeeze: float = 0.0  # inner ends towards each other
    upper_lid: float = 0.16  # share of the eyeball that the lid covers
    lower_lid: float = 0.05
    lid_tilt: float = 0.0  # positive: upper lid low at the nose; negative: low at the temple
    eye_widening: float = 0.0  # share by which the eyeball grows
    gaze_down: float = 0.0  # share of the way to the lower lid
    cheek: float = 0.0  # 0 to 1: folds beside the mouth, bags pushed up below the eyes
    wrinkle: float = 0.0  # 0 to 1: creases across the root of the nose
    mouth_width: float = 24.0  # half the distance between the lip corners
    corners: float = 0.0
    upper_lip: float = 0.0  # height of the opening above the line between the corners
    lower_lip: float = 0.0
    squareness: float = 0.0  # 0: the opening is an ellipse
    sneer: float = 0.0  # one side of the upper lip pulled up: right if positive, left if negative
    tongue: float = 0.0
    clenched: float = 0.0  # above 0.5: both rows of teeth, closed
    tremble: float = 0.0
    pout: float = 0.0
    press: float = 0.0  # 0 to 1: lips rolled in
    jaw: float = 0.0


# What one unit at weight 1 adds to the fields of Expression (ours).
UNIT_EFFECTS = {
    1: {"brow_inner": 15, "brow_outer": -5, "lid_tilt": -0.16},
    2: {"brow_outer": 17, "brow_inner": 1, "brow_arch": 3},
    4: {"brow_inner": -15, "brow_squeeze": 7, "brow_outer": 4, "lid_tilt": 0.34},
    5: {"upper_lid": -0.16, "eye_widening": 0.20},
    6: {"lower_lid": 0.34, "cheek": 1.0},
    7: {"upper_lid": 0.13, "lower_lid": 0.20},
    9: {"wrinkle": 1.0, "brow_inner": -6, "brow_outer": -9, "upper_lid": 0.10, "lower_lid": 0.06},
    10: {"upper_lip": 7, "sneer": 6},
    12: {"corners": 15, "mouth_width": 9},
    15: {"corners": -13, "mouth_width": -2},
    16: {"lower_lip": 6},
    17: {"pout": 1.0},
    19: {"tongue": 22, "lower_lip": 3},
    20: {"mouth_width": 11, "corners": -3, "squareness": 0.6, "tremble": 1.0, "upper_lip": 3},
    23: {"mouth_width": -2, "squareness": 1.0, "press": 0.4},
    24: {"mouth_width": -3, "press": 0.6},
    25: {"upper_lip": 3, "lower_lip": 12},
    26: {"jaw": 13, "upper_lip": 14, "lower_lip": 20, "mouth_width": -9},
    31: {"clenched": 1.0},
    64: {"gaze_down": 0.6, "upper_lid": 0.18, "lid_tilt": -0.06},
}


def express(emotion: str, rng: random.Random, intensity: float) -> Expression:
    """Expression of one emotion; `intensity` is 0, the face at rest, to 1.

    `rng` chooses among the emotion's prototypes and varies each unit by a tenth.
    """
    units = rng.choice(ACTION_UNITS[emotion])
    moved = {}
    for unit, weight in units.items():
        strength = weight * intensity * rng.uniform(0.9, 1.1)
        for field, effect in UNIT_EFFECTS[unit].items():
            moved[field] = moved.get(field, 0.0) + strength * effect
    if rng.random() < 0.5 and "sneer" in moved:
        moved["sneer"] *= -1
    return Expression(**{field: getattr(Expression, field) + by for field, by in moved.items()})
