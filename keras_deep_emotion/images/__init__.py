"""Images: reading files, photos and videos, detecting and cropping faces, preprocessing.

There is one preprocessing path, in `preprocessing`; training, prediction and exports all use it.
What a model predicts for an image is in `inference`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "faces": ["Detector", "Face", "crop"],
        "inputs": ["encode_image", "prepare_batch", "read_crop"],
        "preprocessing": ["decode_image", "prepare_face"],
        "reading": ["UnreadableImage", "find_files", "open_photo", "read_frames"],
    },
)
