"""Work that holds the GIL: parse a Python file and count what it defines."""

import symtable
from collections import Counter
from collections.abc import Iterator
from importlib.util import decode_source
from pathlib import Path


def count_definitions(path: str) -> dict[str, int]:
    """Count the classes, functions and imported names in the Python file at ``path``."""
    return count_in_source(Path(path).read_bytes())


def count_in_source(source: bytes) -> dict[str, int]:
    """Count the classes, functions and imported names in ``source``, as a file would hold it.

    Lambdas and comprehensions are functions too. Not by way of `ast`: before Python 3.11.8 and
    3.12.1 two threads in ``ast.parse`` share a counter, and now and then one of them raises
    ``SystemError`` (https://github.com/python/cpython/issues/106905).
    """
    scopes = list(nested_scopes(symtable.symtable(decode_source(source), "source", "exec")))
    kinds = Counter(scope.get_type() for scope in scopes)
    return {
        "classes": kinds["class"],
        "functions": kinds["function"],
        "imports": sum(symbol.is_imported() for scope in scopes for symbol in scope.get_symbols()),
    }


def nested_scopes(scope: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    """Yield ``scope`` and all the scopes in it."""
    yield scope
    for child in scope.get_children():
        yield from nested_scopes(child)
