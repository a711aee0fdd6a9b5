"""The public contract of an export: each signature's inputs and outputs.

Each has its type ("object" for strings) and its shape after the batch. `OPTIONAL` signatures are
left out where the packages that they are made of are not installed.
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
MOST_FACES = 32  # in a photo
PHOTOS = {
    "faces": ("int32", ()),
    "boxes": ("float32", (MOST_FACES, 4)),
    "landmarks": ("float32", (MOST_FACES, 5, 2)),
    "probabilities": ("float32", (MOST_FACES, "classes")),
    "valid": ("bool", ()),
}
CONTRACT = {
    "serving_default": (IMAGE, PREDICTIONS),
    "predict_bytes": (FILES, PREDICTIONS),
    "saliency": (IMAGE, PREDICTIONS | MAPS),
    "saliency_bytes": (FILES, PREDICTIONS | MAPS),
    "classify": (
        {"inputs": ("object", ())},
        {"classes": ("object", ("classes",)), "scores": ("float32", ("classes",))},
    ),
    "photo_bytes": (FILES, PHOTOS),
}
OPTIONAL = {"photo_bytes"}
