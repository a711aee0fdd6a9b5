"""Training: on one machine, or in one JAX program on a GPU or on several machines.

From settings to a run folder: compile, callbacks, distillation, TensorBoard. Cross-validation and
searches over many runs are in `experiments`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "callbacks": ["AveragedEvaluation", "Backup", "BestModel", "Throughput"],
        "compile": ["compiled_trainer"],
        "devices": ["resolve_precision"],
        "distillation": ["distillation_targets", "teacher_runs"],
        "single_machine": ["fit", "resume", "train"],
        "tensorboard": ["tensorboard_callbacks"],
    },
)
