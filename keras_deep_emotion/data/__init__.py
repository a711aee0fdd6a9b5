"""Data sets: what there is, building it, reading it, and the batches to train on.

`task` and `catalog` need the standard library only. The builders are in
`tfds_builders`; evaluation of predictions is in `evaluation`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "building": ["build_dataset"],
        "catalog": ["CATALOG", "DatasetInfo"],
        "inspection": ["inspect_dataset"],
        "pipeline": ["load_split", "training_batches", "validation_batches"],
        "reading": ["class_names", "open_dataset", "read_examples"],
        "targets": ["FaceArrays", "class_weights", "label_targets"],
        "task": ["Task", "parse_build_target"],
    },
)
