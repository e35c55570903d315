"""Whether calls hold the GIL whenever they compute, read off the code before it is heard.

Only code that lets go of the GIL runs beside other calls, and all such code is written in C. So a
function that reaches nothing but its own Python code, built-in types and modules of the standard
library that never let go holds it, and nobody has to listen for some milliseconds, with one CPU
idle and a thread in the way of a fork. Of all others nothing is known.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from poolwise.mechanisms.reached import is_the_users, names_reached_by
from poolwise.task import Task

#: Modules of the standard library whose functions and types hold the GIL while they compute, with
#: all that are in them. Not here: what compresses (`zlib`), hashes (`hashlib`, and `binascii` for
#: its checksums), reads and writes (`os`), or asks databases (`sqlite3`).
_KEEP = {
    "abc", "array", "ast", "base64", "bisect", "builtins", "calendar", "cmath", "collections",
    "colorsys", "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib",
    "enum", "fractions", "functools", "graphlib", "heapq", "html", "io", "ipaddress", "itertools",
    "json", "keyword", "math", "numbers", "operator", "pprint", "random", "re", "reprlib", "shlex",
    "statistics", "string", "struct", "sys", "textwrap", "time", "tokenize", "types", "typing",
    "unicodedata", "xml",
}  # fmt: skip
_KEEP_TOO = {"_collections_abc", "urllib.parse"}

#: With these code reads and writes after all, or reaches what it does not name.
_ELSEWHERE = {
    "open", "open_code", "FileIO", "input", "stdin", "eval", "exec", "compile", "globals", "vars",
    "modules", "getattr", "__import__", "import_module",
}  # fmt: skip

#: What consists of functions that are reached as well.
_IN_PARTS = (staticmethod, classmethod, property, MethodType, partial, type(cache(len)))

_BUILTIN = (type(len), type(str.upper), type(str.__len__), type("".__len__))

#: What holds other values.
_CONTAINERS = (dict, list, tuple, set, frozenset)

#: Data is looked at in samples of so many, and so deep.
_SOME, _DEEP = 8, 4

_IMPORTS = dis.opmap["IMPORT_NAME"]


def holds_the_gil(task: Task, columns: Iterable[Iterable[object]]) -> bool:
    """Whether calls of a task with such arguments hold the GIL for all that they compute.

    Reads the code of all functions of the user's within reach; runs none of it.
    """
    return (
        all(_is_plain(value) for column in columns for value in islice(column, _SOME))
        and _keeps(task.function)
        and all(_keeps(value) for _, _, value in names_reached_by(task.function))
    )


def _keeps(value: Any) -> bool:
    """Whether using this, by a name or as a part of what has one, never lets go of the GIL."""
    kind = type(value)
    if kind is FunctionType and is_the_users(value.__module__):  # what it names is reached, too
        return _names_all(value.__code__)
    if kind is FunctionType:
        return _is_in_kept(value.__module__)
    if kind is ModuleType:
        return _is_known(value.__name__)
    if isinstance(value, type):
        return all(_is_known(each.__module__) for each in value.__mro__)
    if kind in _IN_PARTS:
        return True
    if kind not in _BUILTIN:
        return _is_plain(value)
    owner = getattr(value, "__self__", None) or getattr(value, "__objclass__", None)
    if owner is None or isinstance(owner, ModuleType):
        return _is_in_kept(getattr(value, "__module__", None))
    return _is_in_kept(owner.__module__) if isinstance(owner, type) else _is_plain(owner)


def _is_plain(value: object, deep: int = _DEEP) -> bool:
    """Whether a value is of types that hold the GIL, as far as a sample of what it holds tells."""
    if not _is_in_kept(type(value).__module__) or callable(value) or isinstance(value, Iterator):
        return False
    if not isinstance(value, _CONTAINERS):
        return True
    try:
        held = [*islice(value, _SOME)]
        held += islice(value.values(), _SOME) if isinstance(value, dict) else ()
    except RuntimeError:  # another thread changes it
        return False
    return deep > 0 and all(_is_plain(each, deep - 1) for each in held)


def _is_known(module: object) -> bool:
    """Whether what a module has is read, or need not be."""
    return isinstance(module, str) and (is_the_users(module) or _is_in_kept(module))


@cache
def _is_in_kept(module: object) -> bool:
    if not isinstance(module, str):  # of what was made by hand
        return False
    root = module.partition(".")[0]
    # Of what is written in C, `_json` belongs to `json`.
    return root in _KEEP or root.lstrip("_") in _KEEP or module in _KEEP_TOO


@cache
def _names_all(code: CodeType) -> bool:
    """Whether this code, and what is within it, names all that it uses."""
    if not _ELSEWHERE.isdisjoint(code.co_names) or _IMPORTS in code.co_code[::2]:
        return False
    return all(_names_all(part) for part in code.co_consts if isinstance(part, CodeType))
