"""Figures, made without pyplot: no global state and no screen is needed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "canvas": ["figure_pixels", "save_figure"],
        "evaluation": ["confusion_figure", "draw_evaluation", "reliability_figure"],
        "saliency": ["attended_figure", "draw_mean_saliency", "draw_mistakes", "draw_saliency"],
        "sheets": ["save_contact_sheet", "save_reproduction"],
    },
)
