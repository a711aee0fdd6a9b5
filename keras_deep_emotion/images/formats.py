"""What the bytes of an image file say before they are decoded: JPEG or PNG, upright or not."""

import io

from PIL import Image

# A JPEG or PNG file starts with one of these (ITU T.81, B.1.1.3; PNG specification, 5.2).
JPEG_START = b"\xff\xd8\xff"


PNG_START = b"\x89PNG\r\n\x1a\n"


ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4


# Without one of these there is no orientation: in JPEG's EXIF, in PNG's two forms of it, in XMP.
MARKS = (b"Exif\0\0", b"eXIf", b"Raw profile type exif", b"tiff:Orientation")


def is_jpeg_or_png(content):
    """Whether bytes begin as those of a JPEG or PNG file."""
    return content.startswith((JPEG_START, PNG_START))


def has_exif_rotation(content):
    """Whether a file says that its picture is to be turned to be upright; TensorFlow ignores it."""
    if not any(mark in content for mark in MARKS):  # nearly all, and at once
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # Pillow's readers raise what they like; whoever decodes it says what
        return False
