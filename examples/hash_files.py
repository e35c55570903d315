"""Work that releases the GIL: hash a file with a deliberately slow hash."""

import hashlib
from pathlib import Path

ROUNDS = 20_000


def stretched_hash(path: str) -> str:
    """Return the PBKDF2 hash of the file at ``path``, in hex: SHA-256, ``ROUNDS`` times over."""
    return hashlib.pbkdf2_hmac("sha256", Path(path).read_bytes(), b"poolwise", ROUNDS).hex()
