"""How large a picture may be: what its header says is checked before memory is taken for its pixels."""

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
START_OF_SCAN = b"\xff\xda"  # a JPEG's marker
MAX_BYTES = 2**30  # of a file
MAX_PIXELS = 2**26  # that are decoded, 67 million; a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough
MAX_SIDE = 2**16  # pixels
FREE_PIXELS = 2**24  # that an image may have however small its file is
MAX_PIXELS_PER_BYTE = 2000  # beyond those; a PNG of one colour has 344, the emptiest JPEG 85
MAX_SCANS = 100  # of a JPEG; encoders write about ten


def check_size(width: int, height: int, file_bytes: int) -> None:
    """Refuses an image that would take too much memory, or far too much for the size of its file."""
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width}x{height}, a side of more than {MAX_SIDE:,} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height}, more than {MAX_PIXELS:,} pixels")
    if width * height > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * file_bytes):
        raise ValueError(f"{width}x{height} from {file_bytes:,} bytes, a decompression bomb")


def check_memory(image: Image.Image, file_bytes: int) -> None:
    """Refuses an opened picture that would take too much memory, or a TIFF with such tiles."""
    check_size(image.width, image.height, file_bytes)
    tags = getattr(image, "tag_v2", {})
    check_size(tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1), file_bytes)


def check_jpeg_scans(image: JpegImageFile, raw: bytes) -> None:
    """Refuses a JPEG that takes far more time or memory than its pixels do because it comes in several scans.

    Several scans are kept whole, six bytes a pixel, whatever the size to decode at, and each goes through all of them:
    a kilobyte can ask for 25 GB, or for hours. Pillow has read up to the end of the first scan's header; if that has
    all components, decoding ends with it.

    Source: ITU-T T.81, B.2.3: FF DA, the header's length in two bytes, the number of components, two bytes for each.
    """
    components = len(image.getbands())
    length = 6 + 2 * components
    single_scan = START_OF_SCAN + bytes([0, length, components])
    read = image.fp.tell() if image.fp else 0
    if not image.info.get("progressive") and raw.startswith(single_scan, read - 2 - length):
        return
    check_size(image.width, image.height, len(raw))
    scans = raw.count(START_OF_SCAN)
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG in {scans:,} scans, more than {MAX_SCANS}")
