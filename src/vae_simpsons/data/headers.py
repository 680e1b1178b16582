"""What the header of an image file says, checked before memory is taken for its pixels."""

from collections.abc import Mapping

import numpy as np

JPEG_START, APP1, START_OF_SCAN = b"\xff\xd8", 0xE1, 0xDA
WITH_LENGTH = (*range(0xC0, 0xD0), *range(0xDA, 0xFF))  # JPEG markers that are followed by a length
SEQUENTIAL = (0xC0, 0xC1)  # markers of frames that are not progressive
MAX_PIXELS = 2**26  # that are decoded, 67 million; a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough
MAX_SIDE = 2**16  # pixels
FREE_PIXELS = 2**24  # that an image may have however small its file is
MAX_PIXELS_PER_BYTE = 2000  # beyond those; a PNG of one colour has 344, the emptiest JPEG 85
MAX_SCANS = 100  # of a JPEG; encoders write about ten


def check_size(width: int, height: int, file_bytes: int) -> None:
    """Refuses an image that would take too much memory, or far too much for the size of its file.

    Raises:
        ValueError: with its size.
    """
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width}x{height}, a side of more than {MAX_SIDE:,} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height}, more than {MAX_PIXELS:,} pixels")
    if width * height > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * file_bytes):
        raise ValueError(f"{width}x{height} from {file_bytes:,} bytes, a decompression bomb")


def is_jpeg(raw: np.ndarray) -> bool:
    """Whether the bytes of a file begin as a JPEG's."""
    return raw[:2].tobytes() == JPEG_START


def is_upright_jpeg(raw: np.ndarray) -> bool:
    """Whether a file is a JPEG without an APP1 segment, where EXIF and XMP store how the camera was held."""
    return is_jpeg(raw) and APP1 not in _jpeg_segments(raw)


def check_jpeg_scans(raw: np.ndarray, width: int, height: int) -> None:
    """Refuses a JPEG that takes far more time or memory than its pixels do because it comes in several scans.

    Several scans are kept whole, six bytes a pixel, whatever the size to decode at, and each goes through all of them:
    a kilobyte can ask for 25 GB, or for hours.

    Raises:
        ValueError: with its size or its number of scans.
    """
    if _is_single_scan(raw, _jpeg_segments(raw)):
        return
    check_size(width, height, len(raw))
    scans = raw.tobytes().count(bytes([0xFF, START_OF_SCAN]))
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG in {scans:,} scans, more than {MAX_SCANS}")


def _is_single_scan(raw: np.ndarray, segments: Mapping[int, int]) -> bool:
    """Whether the first scan of a sequential JPEG has all components; decoding ends with it."""
    frame = next((segments[marker] for marker in SEQUENTIAL if marker in segments), None)
    scan = segments.get(START_OF_SCAN)
    if not frame or not scan:
        return False
    return bytes(raw[frame + 9 : frame + 10]) == bytes(raw[scan + 4 : scan + 5])


def _jpeg_segments(raw: np.ndarray) -> dict[int, int]:
    """Returns the offsets of the contiguous segments of a JPEG's header, by marker, up to the first scan.

    Source: ITU-T T.81, Annex B: FF, a marker, the segment's length in two bytes; SOS ends the header.
    """
    at, segments = 2, {}
    while at + 4 <= len(raw) and raw[at] == 0xFF and raw[at + 1] in WITH_LENGTH and START_OF_SCAN not in segments:
        segments[int(raw[at + 1])] = at
        at += 2 + 256 * int(raw[at + 2]) + int(raw[at + 3])
    return segments
