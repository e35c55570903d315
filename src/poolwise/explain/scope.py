"""What expressions of a definition stand for, without running any of them."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType

from poolwise.explain.definitions import Edit
from poolwise.explain.importing import CannotWrite
from poolwise.explain.literals import alike, literal

Scope = Mapping[str, object]

#: What `meaning` returns for an expression that is not just a name.
UNKNOWN = object()


def scope_of(value: FunctionType | type) -> Scope:
    """Return what the names in the definition of `value` stand for now, builtins left out.

    Raises:
        CannotWrite: a variable that it closes over has no value.

    """
    if isinstance(value, type):
        return vars(sys.modules[value.__module__])
    found = dict(value.__globals__)
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            raise CannotWrite(f"it uses {name}, which has no value yet") from None
    return found


def meaning(expression: ast.expr, scope: Scope) -> object:
    """Return what a name, or an attribute of a module or class, stands for, else `UNKNOWN`."""
    if isinstance(expression, ast.Name):
        return scope.get(expression.id, getattr(builtins, expression.id, UNKNOWN))
    if isinstance(expression, ast.Attribute):
        owner = meaning(expression.value, scope)
        if isinstance(owner, ModuleType | type):
            return getattr(owner, expression.attr, UNKNOWN)
    return UNKNOWN


def gives(expression: ast.expr, value: object, scope: Scope) -> bool:
    """Whether an expression, evaluated anew, is surely `value`."""
    try:
        return alike(ast.literal_eval(expression), value)
    except Exception:  # it is not a constant; or whatever an object does when it is compared
        return meaning(expression, scope) is value


def edits_for(pairs: Iterable[tuple[str, ast.expr, object]], scope: Scope) -> list[Edit]:
    """Return what to write in place of expressions that were evaluated once, and gave `value`.

    Each has a name for the reader. Those that give the same again stay as they are.

    Raises:
        CannotWrite: one does not, and its value is no constant.

    """
    edits: list[Edit] = []
    for name, expression, value in pairs:
        if gives(expression, value, scope):
            continue
        try:
            edits.append((expression, literal(value)))
        except CannotWrite as error:
            raise CannotWrite(f"{error}: {name}") from None
    return edits


def defaults_of(
    function: FunctionType, arguments: ast.arguments
) -> list[tuple[str, ast.expr, object]]:
    """Return the default values of `function` with the expressions that they came from.

    Raises:
        CannotWrite: they were replaced by more or fewer.

    """
    values, expressions = function.__defaults__ or (), arguments.defaults
    by_name = dict(function.__kwdefaults__ or {})
    only = {
        each.arg: default
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    }
    if len(values) != len(expressions) or by_name.keys() != only.keys():
        raise CannotWrite(f"the defaults of {function.__qualname__} were replaced")
    all_positional = [each.arg for each in arguments.posonlyargs + arguments.args]
    named = all_positional[len(all_positional) - len(values) :]
    return [
        *zip(named, expressions, values, strict=True),
        *((name, only[name], by_name[name]) for name in only),
    ]
