"""The definition of a function or class in its file, if it is still the one that was run."""

from __future__ import annotations
import __future__

import ast
import dis
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType

from _poolwise_worker import script
from poolwise.explain.importing import CannotWrite
from poolwise.explain.literals import alike

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

#: An expression of a definition, and what is to stand in its place.
Edit = tuple[ast.expr, str]

_FUTURE_FLAGS = 0
for _name in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _name).compiler_flag


@dataclass(frozen=True, slots=True)
class Found:
    """A node of a file, and the text of the file."""

    node: Definition | ast.Lambda
    text: str


def definition_of(function: FunctionType) -> Found:
    """Return what defines `function`, compiled anew to the very code that it has.

    That code says nothing of decorators, defaults, and what names stand for.

    Raises:
        CannotWrite: there is none: no file, it has changed, the code was replaced or rewritten.

    """
    code, name = function.__code__, function.__qualname__
    text = _text(function, name)
    flags = code.co_flags & _FUTURE_FLAGS
    try:
        tree, compiled = _read(text, flags)
    except (SyntaxError, ValueError, RecursionError):
        raise CannotWrite(f"the source of {name} cannot be read") from None
    there = [each for each in compiled if same_code(each, code)]
    nodes = [node for node in ast.walk(tree) if _starts_at(node, code)]
    if code.co_name == "<lambda>" and there:
        nodes = _lambda_of(there[0], nodes)
    if not there or not nodes:
        raise CannotWrite(f"the source of {name} has changed")
    node = nodes[0]
    assert isinstance(node, Definition | ast.Lambda)
    return Found(node, text)


def class_definition(cls: type) -> Found:
    """Return the last definition of a class in its file. What it defines is not compared.

    Raises:
        CannotWrite: there is none.

    """
    text = _text(cls, cls.__qualname__)
    try:
        tree, _ = _read(text, 0)
    except (SyntaxError, ValueError, RecursionError):
        raise CannotWrite(f"the source of {cls.__qualname__} cannot be read") from None
    named = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == cls.__name__]
    if len(named) != 1:
        raise CannotWrite(f"its file defines the class {cls.__qualname__} {len(named)} times")
    return Found(named[0], text)


def rewritten(found: Found, edits: Sequence[Edit], *, undecorated: bool) -> str:
    """Return a definition as it would stand in a module, with some expressions replaced.

    In its own lines where they mean the same there: a string over several lines may not.
    """
    node = found.node
    lines = [line.encode() for line in found.text.splitlines(keepends=True)]
    for expression, text in sorted(edits, key=lambda e: (e[0].lineno, e[0].col_offset))[::-1]:
        first, last = expression.lineno - 1, (expression.end_lineno or 0) - 1
        before, after = lines[first][: expression.col_offset], lines[last]
        changed = before + text.encode() + after[expression.end_col_offset :]
        lines[first : last + 1] = [changed, *[b""] * (last - first)]
    wanted = _edited(node, edits, undecorated=undecorated)
    starts = [node.lineno]
    if not undecorated and isinstance(node, Definition):
        starts += [each.lineno for each in node.decorator_list]
    taken = [line.decode() for line in lines[min(starts) - 1 : node.end_lineno] if line]
    margin = taken[0][: node.col_offset]
    text = "".join(line.removeprefix(margin) for line in taken).strip("\n")
    try:
        (got,) = ast.parse(text).body
        same = margin.strip() == "" and ast.dump(got) == ast.dump(wanted)
    except (SyntaxError, ValueError):
        same = False
    return text if same else ast.unparse(wanted)


def _edited(
    node: Definition | ast.Lambda, edits: Sequence[Edit], *, undecorated: bool
) -> Definition | ast.Lambda:
    """Return a copy of `node` with the edits made."""
    places = {id(expression): text for expression, text in edits}

    class Edits(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if id(node) in places:
                return ast.parse(places[id(node)], mode="eval").body
            copy = type(node)(**dict(ast.iter_fields(node)))
            for name, value in ast.iter_fields(node):
                if isinstance(value, list):
                    setattr(copy, name, [self._part(each) for each in value])
                else:
                    setattr(copy, name, self._part(value))
            return ast.copy_location(copy, node)

        def _part(self, value: object) -> object:
            return self.visit(value) if isinstance(value, ast.AST) else value

    made = Edits().visit(node)
    assert isinstance(made, Definition | ast.Lambda)
    if undecorated and isinstance(made, Definition):
        made.decorator_list = []
    return made


def names_in_place(node: Definition | ast.Lambda, renamed: Mapping[str, str]) -> list[Edit]:
    """Return what gives the variables that `node` reads other names; not those that it binds."""
    named = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
    return [(each, renamed[each.id]) for each in named if each.id in renamed]


def check_mentions(code: CodeType) -> None:
    """Check that `code` does not look the script up by its name, as in `sys.modules`.

    Raises:
        CannotWrite: it has that name.

    """
    if any(script.is_named(each) for inner in codes_in(code) for each in inner.co_consts):
        raise CannotWrite("it mentions the name of the script")


def modules_imported(code: CodeType) -> list[str]:
    """Return the modules that calls of what is in `code` import."""
    steps = (step for each in codes_in(code) for step in dis.get_instructions(each))
    return [str(step.argval) for step in steps if step.opname == "IMPORT_NAME" and step.argval]


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """Yield `code` and all that it has inside."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from codes_in(const)


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do the same, from the same lines."""
    parts = ("co_name", "co_firstlineno", "co_code", "co_names", "co_varnames", "co_freevars")
    more = ("co_cellvars", "co_argcount", "co_kwonlyargcount", "co_posonlyargcount", "co_flags")
    if any(getattr(one, part) != getattr(other, part) for part in (*parts, *more)):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    return all(map(_same_constant, one.co_consts, other.co_consts))


def names_read(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the variables that `code`, of a module, reads when it runs, and those read in calls.

    Raises:
        CannotWrite: a call sets a variable of the module.

    """
    at_once, later = set[str](), set[str]()
    for each in codes_in(code):
        into = at_once if each.co_flags & inspect.CO_OPTIMIZED == 0 else later
        own = set[str]()
        for step in dis.get_instructions(each):
            if into is at_once and str(step.argval).startswith("__"):  # what Python does with it
                continue
            if step.opname == "IMPORT_NAME" and script.is_named(step.argval):
                raise CannotWrite("it imports the script")
            if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                raise CannotWrite(f"it changes the global {step.argval}")
            if step.opname == "STORE_NAME":
                own.add(step.argval)
            elif step.opname.startswith(("LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")) or (
                step.opname == "LOAD_NAME" and step.argval not in own
            ):
                into.add(step.argval)
    return at_once, later


def _text(thing: type | FunctionType, name: str) -> str:
    try:
        lines, _ = inspect.findsource(thing.__code__ if isinstance(thing, FunctionType) else thing)
    except Exception:  # no file, a file that cannot be read, a class that is not found there
        raise CannotWrite(f"there is no source of {name}") from None
    return "".join(lines)


@lru_cache(maxsize=4)
def _read(text: str, flags: int) -> tuple[ast.Module, tuple[CodeType, ...]]:
    """Return the tree of a text, and all codes that it compiles to."""
    tree = ast.parse(text)
    code = compile(text, "<source>", "exec", flags, dont_inherit=True)
    return tree, tuple(codes_in(code))


def _starts_at(node: ast.AST, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return node.name == code.co_name and first == code.co_firstlineno


def _lambda_of(code: CodeType, nodes: list[ast.AST]) -> list[ast.AST]:
    """Return the innermost of the lambdas whose body holds all steps of `code`."""
    steps = [
        (line, column, end_line, end)
        for line, end_line, column, end in code.co_positions()
        if line is not None and end_line is not None and column is not None and end
    ]
    around = [node for node in nodes if isinstance(node, ast.Lambda) and _holds(node.body, steps)]
    inner = sorted(around, key=lambda node: (node.body.lineno, node.body.col_offset))
    return list(inner[-1:]) if steps else []


def _holds(body: ast.expr, steps: list[tuple[int, int, int, int]]) -> bool:
    start = body.lineno, body.col_offset
    end = body.end_lineno or 0, body.end_col_offset or 0
    return all(start <= (line, column) and (last, to) <= end for line, column, last, to in steps)


def _same_constant(one: object, other: object) -> bool:
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return same_code(one, other)
    return alike(one, other)
