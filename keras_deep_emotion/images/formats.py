"""Format and orientation of image files, from their first bytes and EXIF; nothing is decoded."""

import io

from PIL import Image

JPEG_START = b"\xff\xd8\xff"  # ITU T.81, B.1.1.3
PNG_START = b"\x89PNG\r\n\x1a\n"  # PNG specification, 5.2
SCAN = b"\xff\xda"  # starts a scan of a JPEG; ITU T.81, B.2.3
# Ours: bound the cost of decoding a crop from a stranger. A photo of a phone has 12 million pixels;
# a progressive JPEG has about ten scans, each as costly as the whole image.
MAX_PIXELS = 4096 * 4096
MAX_SCANS = 64
ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4
# Files without any of these have no orientation: EXIF in JPEG, its two forms in PNG, XMP.
EXIF_MARKERS = (b"Exif\0\0", b"eXIf", b"Raw profile type exif", b"tiff:Orientation")


def is_jpeg_or_png(content: bytes) -> bool:
    """Whether a file starts as JPEG or PNG files do."""
    return content.startswith((JPEG_START, PNG_START))


def has_exif_rotation(content: bytes) -> bool:
    """Whether EXIF data say that an image must be turned or mirrored. TensorFlow ignores them."""
    if not any(marker in content for marker in EXIF_MARKERS):  # fast for nearly all files
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # Pillow raises many types for damaged files; decoding reports them
        return False
