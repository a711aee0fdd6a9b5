"""Reports: figures, report.html, model cards and annotated pictures, drawn from saved files.

No model runs here: `evaluation` and `saliency` compute and save what is drawn.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "annotation": ["annotate"],
        "model_card": ["render_model_card"],
        "page": ["write_page", "write_report"],
        "timeline": ["Timeline"],
        "text": ["accuracy_summary", "attention_summary", "comparison_summary", "evaluation_lines"],
    },
)
