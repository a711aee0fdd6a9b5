"""Experiments: many runs, for cross-validation, hyperparameter search and reproduction."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "folds": ["fit_folds", "resume_run"],
        "reproduction": ["reproduce"],
        "tuning": ["tune"],
    },
)
