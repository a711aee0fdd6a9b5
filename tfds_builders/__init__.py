"""TensorFlow Datasets builders. Importing this package registers them.

`import tfds_builders; tfds.load("fer2013/ferplus")` is all that a TFDS user needs.

Every builder gives the features `image` (uint8, native size, one or three channels), `label` (the
seven of `contract.EMOTIONS`; CK+ can add contempt), `subject` (text, "" where unknown), `name`
(text: the native file or row) and `face` (BBox). Splits are those of the release (FER-2013) or of
the user's folders; all others depend only on names, labels and people (see `protocols`).
"""

from tfds_builders.ck_plus.ck_plus_dataset_builder import Builder as CkPlus
from tfds_builders.fer2013.fer2013_dataset_builder import Builder as Fer2013
from tfds_builders.ferg.ferg_dataset_builder import Builder as Ferg
from tfds_builders.folder.folder_dataset_builder import Builder as Folder
from tfds_builders.jaffe.jaffe_dataset_builder import Builder as Jaffe
from tfds_builders.toon_faces.toon_faces_dataset_builder import Builder as ToonFaces

__all__ = ["CkPlus", "Fer2013", "Ferg", "Folder", "Jaffe", "ToonFaces"]
