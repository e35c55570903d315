"""Some builds of Python keep a descriptor of what `ctypes` loads. That is to be no test's."""

import ctypes  # noqa: F401
