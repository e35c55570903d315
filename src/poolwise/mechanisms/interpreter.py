"""The command that starts a new interpreter like this one, with code of ours."""

from __future__ import annotations

import os
import sys
from errno import ENOENT

import _poolwise_worker


def interpreter(module: str, *descriptors: int) -> list[str]:
    """Return the command that calls `main` of a module of ours with these descriptors.

    It has the flags of this interpreter, and ``-P``: a file in the working directory must not stand
    in for a standard module.

    Raises:
        OSError: this program is embedded in another, and does not know where its interpreter is.
    """
    if not sys.executable:
        raise FileNotFoundError(ENOENT, "sys.executable does not say where Python is")
    import subprocess  # takes several milliseconds, and a fork of this process needs none of it

    home = os.path.dirname(os.path.dirname(_poolwise_worker.__file__))
    arguments = ", ".join(map(str, descriptors))
    code = f"import sys; sys.path.insert(0, {home!r}); from {module} import main; main({arguments})"
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-P", "-c", code]
