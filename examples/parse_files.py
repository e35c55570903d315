"""Work that holds the GIL: parse a Python file and count what it defines."""

import ast
from collections import Counter
from pathlib import Path


def count_definitions(path: str) -> dict[str, int]:
    """Count the classes, functions and imports in the Python file at ``path``."""
    return count_in_source(Path(path).read_bytes())


def count_in_source(source: bytes) -> dict[str, int]:
    """Count the classes, functions and imports in ``source``, as a file would hold it."""
    nodes = Counter(map(type, ast.walk(ast.parse(source))))
    return {
        "classes": nodes[ast.ClassDef],
        "functions": nodes[ast.FunctionDef] + nodes[ast.AsyncFunctionDef],
        "imports": nodes[ast.Import] + nodes[ast.ImportFrom],
    }
