"""Inference: open a model, wherever it is, and predict crops, photos, folders and videos.

Predictors of a run, an export and a server have the same methods. Tables of predictions are here;
annotated pictures are in `reports`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "client": ["ServerPredictor", "connect"],
        "loading": ["load", "load_folder"],
        "media": ["ImageResult", "predict_crops", "predict_faces", "predict_media"],
        "predictors": ["ExportPredictor", "RunPredictor"],
        "tables": ["prediction_json", "prediction_row", "save_video_table"],
    },
)
