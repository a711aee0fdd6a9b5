"""Evaluation: predictions of a test split, metrics, and statistics that compare runs.

Everything here computes and saves; figures and sentences are in `reports`. `metrics`,
`predictions` and `statistics` work without TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "evaluate": ["compare_runs", "evaluate_run", "load_predictions", "predict_split"],
        "calibration": ["calibrate_run"],
        "robustness": ["compare_robustness", "evaluate_robustness"],
        "metrics": ["classification_report"],
        "predictions": ["predictions_table", "read_predictions"],
        "statistics": ["mcnemar", "wilson_interval"],
    },
)
