"""Format and orientation of image files, from their first bytes and EXIF; nothing is decoded."""

import io
import re

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
# First bytes of the pictures that are read, and their formats as Pillow names them: those of
# cameras, browsers and data sets; not PostScript, which Pillow gives to another program.
IMAGE_STARTS = {
    JPEG_START: "JPEG", PNG_START: "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG2000", b"\xff\x4f\xff\x51": "JPEG2000",
}  # fmt: skip
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
VIDEO_STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\0\0\x01\xba", b"\0\0\x01\xb3",  # MPEG
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
)  # fmt: skip
SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")  # of MPEG-4 files
ATOMS = (b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot")  # QuickTime before `ftyp`
PACKETS = {0: 188, 4: 192}  # bytes before the first packet of an MPEG transport stream, and of each
HEAD = 1024  # bytes that tell the kind of a file


def file_kind(head: bytes) -> str | None:
    """What a file is by its first `HEAD` bytes: "image", "video" or None, for neither."""
    if image_format(head):
        return "image"
    return "video" if _is_video(head) else None


def image_format(head: bytes) -> str | None:
    """Format of an image file by its first `HEAD` bytes, as Pillow names it; None for others."""
    if head.startswith(b"BM"):  # two letters alone say little
        return "BMP" if head[6:10] == bytes(4) else None
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    if head[4:8] == b"ftyp":
        size = max(12, int.from_bytes(head[:4]))
        # The second word is a version; the others are what the file is compatible with.
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))}
        if head[8:12] not in AVIF_BRANDS | HEIF_BRANDS:
            return None
        return "AVIF" if brands & AVIF_BRANDS else "HEIF"
    if re.match(rb"P[1-6f]\s+[\d#]", head):
        return "PPM"
    return next((IMAGE_STARTS[one] for one in IMAGE_STARTS if head.startswith(one)), None)


def _is_video(head):
    if head[4:8] == b"ftyp":
        return head[8:12] not in SOUND_BRANDS
    # The size before an atom's name tells it from a text such as "The free ...".
    is_atom = head[4:8] in ATOMS and not head[:4].decode("latin-1").isprintable()
    is_ogg = head[:4] == b"OggS" and b"\x80theora" in head
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    packets = (head[start::size] for start, size in PACKETS.items())
    is_stream = any(len(sync) > 3 and set(sync) == {0x47} for sync in packets)
    return is_atom or is_ogg or is_avi or is_stream or head.startswith(VIDEO_STARTS)


def decodes_alike(content: bytes) -> bool:
    """Whether TensorFlow decodes a file as `reading` does: JPEG or PNG of 8 bits, upright."""
    is_deep = content[24:25] == b"\x10"  # PNG specification, 11.2.2: bits a channel
    is_png = content.startswith(PNG_START) and not is_deep
    return (is_png or content.startswith(JPEG_START)) and not has_exif_rotation(content)


def has_exif_rotation(content: bytes) -> bool:
    """Whether EXIF data say that an image must be turned or mirrored. TensorFlow ignores them."""
    if not any(marker in content for marker in EXIF_MARKERS):  # fast for nearly all files
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # Pillow raises many types for damaged files; decoding reports them
        return False
