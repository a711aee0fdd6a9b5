"""The public contract of an export: each signature's inputs and outputs.

Each has its type ("object" for strings) and its shape after the batch.
"""

IMAGE = {"image": ("float32", ("size", "size", 1))}
FILES = {"image_bytes": ("object", ())}
PREDICTIONS = {
    "probabilities": ("float32", ("classes",)),
    "class_id": ("int64", ()),
    "class_name": ("object", ()),
    "valid": ("bool", ()),
}
MAPS = {"saliency": ("float32", ("size", "size")), "decisive": ("bool", ("size", "size"))}
CONTRACT = {
    "serving_default": (IMAGE, PREDICTIONS),
    "predict_bytes": (FILES, PREDICTIONS),
    "saliency": (IMAGE, PREDICTIONS | MAPS),
    "saliency_bytes": (FILES, PREDICTIONS | MAPS),
    "classify": (
        {"inputs": ("object", ())},
        {"classes": ("object", ("classes",)), "scores": ("float32", ("classes",))},
    ),
}
