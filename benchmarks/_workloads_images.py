"""Work of Pillow, which releases the GIL."""

from __future__ import annotations

import io
import random

from _workload import Workload, times
from PIL import Image, ImageFilter


def photos(scale: float, count: int, side: int) -> list[bytes]:
    """Encoded pictures."""
    draw = random.Random(8)
    result: list[bytes] = []
    for _ in range(times(scale, count)):
        small = Image.frombytes("RGB", (32, 32), draw.randbytes(32 * 32 * 3))
        file = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG")
        result.append(file.getvalue())
    return result


def thumbnail(photo: bytes) -> bytes:
    """Decode, make small, encode."""
    image = Image.open(io.BytesIO(photo)).resize((160, 160), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def blurred(photo: bytes) -> tuple[int, int]:
    """Blur, and find the extremes of the first band."""
    image = Image.open(io.BytesIO(photo)).filter(ImageFilter.GaussianBlur(6))
    low, high = image.getextrema()[0]
    return int(low), int(high)


WORKLOADS = {
    "thumbnails": Workload(thumbnail, lambda scale: photos(scale, 60, 1_000), True),
    "blur": Workload(blurred, lambda scale: photos(scale, 24, 800), True),
}
