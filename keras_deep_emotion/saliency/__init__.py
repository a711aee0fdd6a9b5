"""Saliency: which regions of a face a prediction depends on, and how faithful that is.

Everything here computes and saves; `reports` draws it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "benchmark": ["benchmark_saliency"],
        "explain": ["explain_faces", "explain_files"],
        "explain_run": ["explain_run", "explain_split"],
        "networks": ["Network"],
        "faithfulness": ["score_faithfulness"],
        "occlusion": ["occlude", "occlusion_saliency"],
        "windows": ["SaliencyMaps", "Windows", "explain_by_windows"],
    },
)
