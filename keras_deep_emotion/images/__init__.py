"""Images: reading files, photos and videos, detecting and cropping faces, preprocessing.

Every road to a model shares `preprocessing`, in NumPy, or the same as graph code of TensorFlow in
`graph`, the only module here that imports it. What a model predicts for an image is in `inference`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "faces": ["Detector", "Face", "crop"],
        "finding": ["find_files", "passed_over"],
        "inputs": ["encode_image", "load_photo", "load_pixels"],
        "preprocessing": ["prepare_face"],
        "reading": ["UnreadableImage", "open_photo"],
        "videos": ["read_frames"],
    },
)
