"""The networks, as Keras functional models; their operating points; folding for inference.

They use Keras only and run on every backend. Training is in `training`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "deep_emotion": ["build_model"],
        "folding": ["fold_batch_normalization"],
        "operating_point": ["at_operating_point", "rebalance"],
    },
)
