"""Figures, made without pyplot: they need no display and share no global state."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "canvas": ["figure_pixels", "save_figure"],
        "curves": ["curves_figure"],
        "evaluation": ["confusion_figure", "draw_evaluation", "reliability_figure"],
        "saliency": ["attended_figure", "draw_mean_saliency", "draw_mistakes", "draw_saliency"],
        "sheets": ["save_contact_sheet", "save_reproduction"],
    },
)
