"""The folder in which things are kept between runs. Light to import: maps ask for it."""

from __future__ import annotations

import os
import sys


def cache_folder() -> str | None:
    """Return the folder, which may not exist yet; ``None`` if there is no place for one.

    ``POOLWISE_CACHE``, or else what the platform has for it.
    """
    given = os.environ.get("POOLWISE_CACHE")
    if given:
        return os.path.abspath(given)
    if sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # as the standard says: then it is ignored
            base = os.path.expanduser("~/.cache")
    # Without HOME and without a name for this user, "~" stays as it is.
    return os.path.join(base, "poolwise") if os.path.isabs(base) else None
