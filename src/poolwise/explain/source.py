"""A function written out: its source, and that of whatever it needs and cannot be imported."""

from __future__ import annotations
import __future__

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType

from poolwise.explain.importing import CannotWrite, Reference, by_import

#: The longest constant that is written out, in characters.
_LONGEST_CONSTANT = 300

_FUTURE = "from __future__ import annotations"


def written_out(function: Callable[..., object]) -> Reference:
    """Return `function` as source, after everything that it uses.

    Raises:
        CannotWrite: its source, or something that it uses, cannot be written out.

    """
    if not isinstance(function, FunctionType):
        raise CannotWrite(f"it is an object of type {type(function).__qualname__}")
    own = function.__name__
    name = own if own.isidentifier() else "function"
    pieces = _Pieces()
    pieces.define(name, function)
    delayed = function.__code__.co_flags & __future__.annotations.compiler_flag
    return Reference(
        name,
        tuple(pieces.imports + pieces.lines),
        frozenset(pieces.names),
        (_FUTURE,) if delayed else (),
    )


def literal(value: object) -> str:
    """Return a constant as it is written in source.

    Raises:
        CannotWrite: it is not a constant, or too long to be read.

    """
    try:
        text = repr(value)
        same = len(text) <= _LONGEST_CONSTANT and ast.literal_eval(text) == value
    except Exception:  # whatever an object does when it is written or compared
        text, same = "", False
    if not same:
        raise CannotWrite(f"it uses an object of type {type(value).__qualname__}")
    return text


class _Pieces:
    """The lines of a program, in an order in which each name is bound before it is needed."""

    def __init__(self) -> None:
        self.imports: list[str] = []
        self.lines: list[str] = []
        self.names: set[str] = set()

    def define(self, name: str, value: object) -> None:
        """Bind `name` to `value`, after what `value` needs."""
        if name in self.names:
            return
        if hasattr(builtins, name):
            raise CannotWrite(f"it takes the name of a builtin: {name}")
        self.names.add(name)
        if isinstance(value, ModuleType):
            self._import_module(name, value)
        elif (imported := by_import(value, alias=name)) is not None:
            self.imports += [line for line in imported.lines if line not in self.imports]
            self.names |= imported.names
        elif isinstance(value, FunctionType | type):
            self._write(name, value)
        else:
            try:
                self.lines.append(f"{name} = {literal(value)}")
            except CannotWrite as error:
                raise CannotWrite(f"{error}: {name}") from None

    def _import_module(self, name: str, module: ModuleType) -> None:
        if sys.modules.get(module.__name__) is not module:
            raise CannotWrite(f"it uses the module {module.__name__}, which cannot be imported")
        whole = module.__name__ == name
        self.imports.append(f"import {name}" if whole else f"import {module.__name__} as {name}")

    def _write(self, name: str, value: FunctionType | type) -> None:
        text = _source(name, value)
        values = _values(value)
        for needed in _free_names(ast.parse(text)):
            if needed in values and needed != name:
                self.define(needed, values[needed])
        self.lines += ["", "", text]
        own = value.__name__
        if own != name and own.isidentifier():
            self.lines.append(f"{name} = {own}")
            self.names.add(own)


def _values(value: FunctionType | type) -> Mapping[str, object]:
    """Return what the names in the source of `value` stand for, builtins left out."""
    if isinstance(value, type):
        if "<locals>" in value.__qualname__:
            raise CannotWrite(f"it uses the local class {value.__name__}")
        found = dict(vars(sys.modules[value.__module__]))
        return {name: each for name, each in found.items() if not _is_builtin(name, each)}
    inner = inspect.unwrap(value)
    found = dict(inner.__globals__)
    for name, cell in zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            raise CannotWrite(f"it uses {name}, which has no value yet") from None
    return {name: each for name, each in found.items() if not _is_builtin(name, each)}


def _is_builtin(name: str, value: object) -> bool:
    return getattr(builtins, name, None) is value or name.startswith("__")


def _free_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that are read in `tree` and bound nowhere in it."""
    read: dict[str, None] = {}
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read[node.id] = None
        elif isinstance(node, ast.Name):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Global):
            raise CannotWrite(f"it changes the global {node.names[0]}")
    return (name for name in read if name not in bound)


def _source(name: str, value: FunctionType | type) -> str:
    """Return the source of a function or class, as it would stand in a module."""
    try:
        text = textwrap.dedent(inspect.getsource(value))
    except Exception:  # no file, a file that has changed and cannot be tokenised, ...
        raise CannotWrite(f"there is no source of {value.__qualname__}") from None
    if value.__name__ == "<lambda>":
        return _lambda_as_def(name, text, value)
    try:
        (node,) = ast.parse(text).body
    except (SyntaxError, ValueError):
        raise CannotWrite(f"the source of {value.__qualname__} cannot be read") from None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    if not isinstance(node, kinds) or node.name != value.__name__:
        raise CannotWrite(f"the source of {value.__qualname__} has changed")
    return text.strip("\n")


def _lambda_as_def(name: str, text: str, value: FunctionType | type) -> str:
    assert isinstance(value, FunctionType)
    wanted = value.__code__.co_varnames[: value.__code__.co_argcount]
    found = {
        ast.unparse(node): node
        for node in ast.walk(_part_with_lambda(text))
        if isinstance(node, ast.Lambda) and tuple(a.arg for a in node.args.args) == wanted
    }
    if len(found) != 1:
        raise CannotWrite("it is a lambda that cannot be told from others in its line")
    (node,) = found.values()
    return f"def {name}({ast.unparse(node.args)}):\n    return {ast.unparse(node.body)}"


def _part_with_lambda(text: str) -> ast.AST:
    """Return `text` if it parses, else the longest expression that begins at its first lambda."""
    try:
        return ast.parse(text)
    except SyntaxError:
        pass
    start = text.find("lambda")
    for end in range(len(text), start, -1) if start >= 0 else ():
        try:
            return ast.parse(text[start:end].strip(), mode="eval")
        except (SyntaxError, ValueError):
            continue
    raise CannotWrite("the line of the lambda cannot be read")
