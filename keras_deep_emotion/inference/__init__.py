"""Inference: open a model, wherever it is, and predict crops, photos, folders and videos.

Predictors of a run, an export, a LiteRT model and a server have the same methods (`predictor`);
those that need TensorFlow import it when they are opened. Tables of predictions are here; annotated
pictures are in `reports`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "array_predictors": ["LiteRTPredictor", "ONNXPredictor"],
        "client": ["ServerPredictor", "connect"],
        "loading": ["load", "load_path"],
        "media": ["ImageResult", "predict_crops", "predict_faces", "predict_media"],
        "predictor": ["FaceAnalysis", "Predictor"],
        "tables": ["open_table", "prediction_json", "prediction_rows"],
        "tracking": ["Tracker"],
        "tensorflow_predictors": ["KerasPredictor", "SavedModelPredictor"],
    },
)
