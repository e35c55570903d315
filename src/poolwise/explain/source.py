"""A function written out: its source, and that of whatever it needs and cannot be imported.

What is written is the state that things have now, as far as constants and source can say it; the
rest is refused. So decorators are not applied again: what they made is written, with what it closes
over. Defaults and attributes of classes are values, not what their expressions would give now.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, MethodType, ModuleType

from _poolwise_worker import script
from poolwise.explain.classes import unchanged, values_in
from poolwise.explain.definitions import (
    Edit,
    check_mentions,
    class_definition,
    codes_in,
    definition_of,
    modules_imported,
    names_in_place,
    names_read,
    rewritten,
)
from poolwise.explain.importing import (
    USUAL,
    CannotWrite,
    Reference,
    by_import,
    by_its_owner,
    import_module,
    is_name,
    way_to,
)
from poolwise.explain.literals import literal
from poolwise.explain.scope import Scope, defaults_of, edits_for, meaning, scope_of

#: Builtins that reach variables that nothing in the source names.
_BY_NAME = ("globals", "eval", "exec")

_FUTURE = "from __future__ import annotations"

_Cached = type(functools.cache(len))

#: Variables that a program has, too, but with other values: the script's are written in place. In
#: a process that is not forked the name is another, and multiprocessing goes by the file.
_OF_MODULES = ("__name__", "__file__")


def written_out(function: Callable[..., object]) -> Reference:
    """Return `function` as source, after everything that it uses.

    Raises:
        CannotWrite: its source, or something that it uses, cannot be written out.

    """
    if isinstance(function, MethodType) and isinstance(function.__self__, type):
        return _of_class(function)
    if not isinstance(function, FunctionType | type | _Cached):
        raise CannotWrite(f"it is an object of type {type(function).__qualname__}")
    own = getattr(function, "__name__", "")
    code = getattr(function, "__code__", None)
    name = own if is_name(own) else "function"
    while name != own and code is not None and name in _names_in(code):
        name += "_"
    return _program(name, name, function)


def _of_class(method: MethodType) -> Reference:
    """Return a class method, found in its class where that is written out."""
    cls, name = method.__self__, method.__name__
    assert isinstance(cls, type)
    if getattr(cls, name, None) != method:
        raise CannotWrite(f"{cls.__qualname__} does not have it")
    return _program(f"{cls.__name__}.{name}", cls.__name__, cls)


def _program(call: str, name: str, value: object) -> Reference:
    pieces = _Pieces()
    pieces.define(name, value)
    lines = [line for piece in pieces.in_order() for line in piece.lines]
    return Reference(
        call,
        tuple(pieces.imports + lines),
        frozenset(pieces.bound()),
        (_FUTURE,) if pieces.delayed else (),
        frozenset(name for name, each in pieces.values.items() if USUAL.get(name) is each),
    )


@dataclass(slots=True)
class _Piece:
    """Lines that bind a name, and what they need: `first` when they run, `later` in calls.

    `own` is a name that they bind on the way, to what may not be its value in the end.
    """

    lines: list[str]
    own: str | None = None
    first: set[str] = field(default_factory=set)
    later: list[str] = field(default_factory=list)


class _Pieces:
    """The parts of a program, each of which binds a name to what it stands for now."""

    def __init__(self) -> None:
        self.imports: list[str] = []
        self.values: dict[str, object] = {}
        self.delayed = False
        self._unbound: set[str] = set()
        self._inside: dict[int, object] = {}
        self._asked: set[str] = set()
        self._other: set[str] = set()
        self._pieces: dict[str, _Piece] = {}
        self._names: dict[int, str] = {}

    def define(self, name: str, value: object) -> None:
        """Bind `name` to `value`, and so what `value` needs.

        Raises:
            CannotWrite: one of them cannot be written, or would have two values.

        """
        if name in self.values:
            if not unchanged(self.values[name], value):
                raise CannotWrite(f"{name} stands for two different things in what it uses")
            return
        if hasattr(builtins, name):
            raise CannotWrite(f"it takes the name of a builtin: {name}")
        self.values[name] = value
        if isinstance(value, ModuleType):
            self._import(import_module(name, value))
        elif (lines := by_its_owner(value, name)) is not None:
            self._import(lines)
        elif (imported := by_import(value, alias=name)) is not None:
            for bound in imported.names - {name}:
                if self.values.setdefault(bound, imported) is not imported:
                    raise CannotWrite(f"{bound} stands for two different things in what it uses")
            self._import(imported.lines)
        elif id(value) in self._names:
            self._pieces[name] = _Piece([f"{name} = {self._names[id(value)]}"])
            self._pieces[name].first.add(self._names[id(value)])
        else:
            if isinstance(value, FunctionType | type | list | dict | set | bytearray | _Cached):
                if id(value) in self._inside:
                    raise CannotWrite(f"it uses an object that stands in several places: {name}")
                self._names[id(value)] = name  # `self.values` keeps it, and so its id
            self._write(name, value)

    def bound(self) -> set[str]:
        """Return all names that mean something in the program, if only that they have no value."""
        owns = {piece.own for piece in self._pieces.values() if piece.own is not None}
        return {*self.values, *owns, *self._unbound}

    def in_order(self) -> Iterator[_Piece]:
        """Yield the parts so that each comes after those that it needs when it runs.

        What calls need comes before, too, where it can.

        Raises:
            CannotWrite: there is no such order, or a name would have another value in the end.

        """
        for name in sorted(self._unbound & self.values.keys()):
            raise CannotWrite(f"{name} stands for two different things in what it uses")
        if "__subclasses__" in self._asked:
            raise CannotWrite("it asks a class for its __subclasses__")
        for name in sorted(self._asked & self._other):
            raise CannotWrite(f"it reads the {name} of something, which would be another")
        for name, piece in self._pieces.items():
            own = piece.own
            if own is not None and own != name and own in self.values:
                if own not in self._pieces:
                    raise CannotWrite(f"{own} stands for two different things in what it uses")
                self._pieces[own].first.add(name)
        done: dict[str, None] = {}
        for name in list(self._pieces):
            self._put(name, done, ())
        return (self._pieces[name] for name in done)

    def _put(self, name: str, done: dict[str, None], around: tuple[str, ...]) -> None:
        piece = self._pieces.get(name)
        if piece is None or name in done:
            return
        if name in around:
            raise CannotWrite(f"{name} needs itself before it is there")
        around = (*around, name)
        for needed in sorted(piece.first):
            self._put(needed, done, around)
        for needed in piece.later:
            if needed not in around and not self._all_first(needed) & set(around):
                self._put(needed, done, around)
        done[name] = None

    def _all_first(self, name: str) -> set[str]:
        """Return all that must be there before `name` can be."""
        found, left = set[str](), [name]
        while left:
            piece = self._pieces.get(left.pop())
            left += [] if piece is None else piece.first - found
            found |= set() if piece is None else piece.first
        return found

    def _import(self, lines: Iterable[str]) -> None:
        self.imports += [line for line in lines if line not in self.imports]

    def _write(self, name: str, value: object) -> None:
        if isinstance(value, FunctionType):
            self._write_function(name, value, [])
        elif isinstance(value, _Cached):
            self._write_cached(name, value)
        elif isinstance(value, type):
            self._write_class(name, value)
        elif isinstance(value, functools.partial) and type(value) is functools.partial:
            self._write_partial(name, value)
        else:
            try:
                self._pieces[name] = _Piece([f"{name} = {literal(value)}"])
                self._keep_apart(name, value)
            except CannotWrite as error:
                raise CannotWrite(f"{error}: {name}") from None

    def _edits(self, values: list[tuple[str, ast.expr, object]], scope: Scope) -> list[Edit]:
        """Return what to write in place of expressions, whose values are nowhere else."""
        for name, expression, value in values:
            if meaning(expression, scope) is not value:
                self._keep_apart(name, [value])
        return edits_for(values, scope)

    def _keep_apart(self, name: str, value: object) -> None:
        """Check that no list, set or dict in `value` is also elsewhere: it would become two."""
        each = [*value, *value.values()] if isinstance(value, dict) else value
        for part in each if isinstance(each, list | tuple) else ():
            if isinstance(part, list | set | dict | bytearray):
                if id(part) in self._inside or id(part) in self._names:
                    raise CannotWrite("it uses an object that stands in several places")
                self._inside[id(part)] = part
            self._keep_apart(name, part)

    def _write_cached(self, name: str, value: object) -> None:
        inner = getattr(value, "__wrapped__", None)
        if not isinstance(inner, FunctionType) or not hasattr(value, "cache_parameters"):
            raise CannotWrite(f"it uses a cache of an object of type {type(inner).__qualname__}")
        given = ", ".join(f"{key}={each!r}" for key, each in value.cache_parameters().items())
        self.define("lru_cache", functools.lru_cache)
        self._write_function(name, inner, [f"@lru_cache({given})"])

    def _write_partial(self, name: str, value: functools.partial[object]) -> None:
        function = getattr(value.func, "__name__", "")
        if not is_name(function) or function == name or not all(map(is_name, value.keywords)):
            raise CannotWrite(f"it uses a partial that has no place: {name}")
        self.define("partial", functools.partial)
        if getattr(builtins, function, None) is not value.func:
            self.define(function, value.func)
        self._keep_apart(name, [*value.args, *value.keywords.values()])
        given = [function, *map(literal, value.args)]
        given += [f"{key}={literal(each)}" for key, each in value.keywords.items()]
        self._pieces[name] = _Piece(
            [f"{name} = partial({', '.join(given)})"], None, {"partial", function}
        )

    def _write_function(self, name: str, value: FunctionType, above: list[str]) -> None:
        found, scope = definition_of(value), dict(scope_of(value))
        node = found.node
        assert not isinstance(node, ast.ClassDef)
        edits = self._edits(defaults_of(value, node.args), scope)
        renamed = self._renamed(value, scope)
        check_mentions(value.__code__)
        scope |= {new: scope[name] for name, new in renamed.items()}
        edits += names_in_place(node, {**renamed, **_of_modules(scope)})
        text = rewritten(found, edits, undecorated=True)
        own = name
        if isinstance(node, ast.Lambda):
            text = _as_def(name, text)
        else:
            own = node.name
        wraps = self._wraps(value, renamed)
        attributes = {key: each for key, each in vars(value).items() if key != "__wrapped__"}
        if attributes and above:
            raise CannotWrite(f"it uses a cached function with attributes: {name}")
        after = [f"{own}.{key} = {literal(each)}" for key, each in attributes.items()]
        flag = value.__code__.co_flags & __future__.annotations.compiler_flag
        self.delayed = self.delayed or bool(flag)
        code = _compiled(_unannotated(text) if flag or sys.version_info >= (3, 14) else text)
        names = {renamed.get(each, each) for each in _names_in(value.__code__)}
        _check_names(names, code, own)
        inside = vars(value).get("__wrapped__")
        for part in ("__name__", "__doc__") if wraps else ():
            if getattr(value, part, None) != getattr(inside, part, None):
                self._other.add(part)
        if not wraps and value.__name__ != "<lambda>" and value.__name__ != own:
            self._other.add("__name__")
        if not wraps and value.__doc__ != _docstring(node):
            self._other.add("__doc__")
        if not wraps and value.__qualname__ != own:
            self._other.add("__qualname__")
        if isinstance(node, ast.Lambda):
            self._other.add("__name__")
        lines = [*wraps, *above, text, *after]
        self._add(name, own, lines, _compiled("\n".join([*wraps, "def f(): pass"])), code, scope)
        self._import_parts(text, scope)
        for module in modules_imported(code):
            self._import(way_to(module))

    def _renamed(self, value: FunctionType, scope: Scope) -> dict[str, str]:
        """Return other names for what a function closes over, where the module has them already.

        As when two functions close over different values of one name.
        """
        renamed: dict[str, str] = {}
        for name in value.__code__.co_freevars:
            others = [each[name] for each in (self.values, value.__globals__) if name in each]
            if hasattr(builtins, name) or not all(unchanged(each, scope[name]) for each in others):
                taken = {*self.values, *scope, *_names_in(value.__code__), *dir(builtins)}
                fresh = (f"{name}_{number}" for number in itertools.count(2))
                renamed[name] = next(each for each in fresh if each not in taken)
        return renamed

    def _wraps(self, value: FunctionType, renamed: dict[str, str]) -> list[str]:
        """Return the line above a wrapper that gives it the name of what it wraps."""
        if "__wrapped__" not in vars(value):
            return []
        inside = vars(value)["__wrapped__"]
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if cell.cell_contents is inside:
                self.define("wraps", functools.wraps)
                return [f"@wraps({renamed.get(name, name)})"]
        raise CannotWrite(f"it uses a wrapper of something that it does not call: {value.__name__}")

    def _write_class(self, name: str, value: type) -> None:
        if "<locals>" in value.__qualname__:
            raise CannotWrite(f"it uses the local class {value.__name__}")
        found, scope = class_definition(value), scope_of(value)
        edits = self._edits(values_in(value, found, scope), scope)
        check_mentions(_compiled(rewritten(found, [], undecorated=False)))
        edits += names_in_place(found.node, _of_modules(scope))
        text = rewritten(found, edits, undecorated=False)
        if vars(value).get("__doc__") != _docstring(found.node):
            self._other.add("__doc__")
        functions = [each for each in vars(value).values() if isinstance(each, FunctionType)]
        flags = functions[0].__code__.co_flags if functions else 0
        self.delayed = self.delayed or bool(flags & __future__.annotations.compiler_flag)
        self._add(name, value.__name__, [text], _compiled(""), _compiled(text), scope)
        self._import_parts(text, scope)
        for module in modules_imported(_compiled(text)):
            self._import(way_to(module))

    def _add(
        self, name: str, own: str, lines: list[str], above: CodeType, code: CodeType, scope: Scope
    ) -> None:
        """Add a definition, and what it needs: for what is above it, and for itself."""
        piece = self._pieces[name] = _Piece(["", "", *lines], own)
        if own != name:
            piece.lines.append(f"{name} = {own}")
        needed = [(names_read(above)[0] - {"wraps"}, set[str]()), names_read(code)]
        calls = [each for each in codes_in(code) if each.co_flags & inspect.CO_OPTIMIZED]
        self._asked |= {name for each in calls for name in each.co_names}
        for each in sorted(set().union(*(at_once for at_once, _ in needed)) - {name}):
            if self._use(each, scope):
                piece.first.add(each)
        for each in sorted(set().union(*(later for _, later in needed))):
            if self._use(each, scope):
                piece.later.append(each)

    def _use(self, name: str, scope: Scope) -> bool:
        """Define what a name stands for; whether there is anything to define."""
        if name not in scope and not hasattr(builtins, name):
            self._unbound.add(name)
        if name not in scope or getattr(builtins, name, scope) is scope[name]:
            if name in _BY_NAME:
                raise CannotWrite(f"it may read any variable by {name}()")
            return False
        if name.startswith("__") and name.endswith("__"):
            raise CannotWrite(f"it reads {name}")
        self.define(name, scope[name])
        return True

    def _import_parts(self, text: str, scope: Scope) -> None:
        """Import the modules that are reached as attributes of packages, which need not be there.

        ``import xml.etree`` binds ``xml``, and so does ``import xml``, which has no ``etree``.
        """
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Attribute):
                continue
            whole, part = meaning(node.value, scope), meaning(node, scope)
            if isinstance(whole, ModuleType) and script.is_named(getattr(part, "__module__", None)):
                raise CannotWrite(f"the script has replaced {whole.__name__}.{node.attr}")
            if not isinstance(whole, ModuleType) or not hasattr(whole, "__path__"):
                continue
            path = f"{whole.__name__}.{node.attr}"
            if isinstance(part, ModuleType) and sys.modules.get(path) is part:
                top = path.partition(".")[0]
                if self.values.setdefault(top, sys.modules[top]) is not sys.modules[top]:
                    raise CannotWrite(f"{top} stands for two different things in what it uses")
                self._import([f"import {path}"])


def _names_in(code: CodeType) -> set[str]:
    parts = ("co_names", "co_varnames", "co_freevars", "co_cellvars")
    # From Python 3.14 on the annotations of an inner function are a function, which nothing calls.
    codes = [each for each in codes_in(code) if each.co_name != "__annotate__"]
    return {name for each in codes for part in parts for name in getattr(each, part)}


def _check_names(wanted: set[str], module: CodeType, own: str) -> None:
    """Check that a function written into a module is the same there: that it needs no class.

    Raises:
        CannotWrite: it has ``super()``, or names that are private to its class.

    """
    for each in module.co_consts:
        if isinstance(each, CodeType) and each.co_name == own:
            if _names_in(each) - {*_OF_MODULES} != wanted - {*_OF_MODULES}:
                raise CannotWrite(f"{own} needs the class that it belongs to")
            return
    raise CannotWrite(f"{own} needs the class that it belongs to")


def _of_modules(scope: Scope) -> dict[str, str]:
    return {name: literal(scope[name]) for name in _OF_MODULES if isinstance(scope.get(name), str)}


def _docstring(node: ast.AST) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        text = ast.get_docstring(node, clean=False)
        cleans = sys.version_info >= (3, 13)  # then the compiler does, in its own way
        return inspect.cleandoc(text) if text is not None and cleans else text
    return None


def _compiled(text: str) -> CodeType:
    try:
        return compile(text, "<written out>", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise CannotWrite(f"its source cannot stand on its own: {error.msg}") from None


def _as_def(name: str, text: str) -> str:
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Lambda)
    return f"def {name}({ast.unparse(node.args)}):\n    return {ast.unparse(node.body)}"


def _unannotated(text: str) -> str:
    """Return the source of a function without the annotations that nothing evaluates."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.unparse(tree)
