"""Whether a class is the one that its source defines, and where it is not.

A class can be changed in any way after its body has run, and its body can compute anything. So
what is not known to be as the source says is not written out.
"""

from __future__ import annotations

import abc
import ast
import dataclasses
import enum
import functools
import sysconfig
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType

from poolwise.explain.definitions import Found, definition_of
from poolwise.explain.importing import CannotWrite
from poolwise.explain.literals import alike
from poolwise.explain.scope import Scope, defaults_of, gives, meaning

#: Decorators of classes that add what they make of the class itself, and nothing else.
_CLASS_DECORATORS = (
    *(dataclasses.dataclass, functools.total_ordering, enum.unique),
    *(typing.final, typing.runtime_checkable),
)

#: Decorators of methods that leave the function as it is.
_MARKS = (abc.abstractmethod, typing.final, typing.overload, getattr(typing, "override", None))

#: Attributes that every class gets from Python, or from the classes that it is made by.
_GIVEN = {
    *("__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__annotations__"),
    *("__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__"),
    *("__annotations_cache__", "__abstractmethods__", "_abc_impl", "__parameters__"),
    *("__orig_bases__", "__dataclass_fields__", "__dataclass_params__"),
    *("__protocol_attrs__", "_is_protocol", "_is_runtime_protocol"),
    *("__non_callable_proto_members__", "__type_params__", "__slots__", "__classdictcell__"),
}

#: Modules of the standard library whose decorators, bases and metaclasses add functions to classes.
_MAKERS = ("abc", "collections", "dataclasses", "enum", "functools", "reprlib", "typing")

_STDLIB = Path(sysconfig.get_path("stdlib"))


def values_in(cls: type, found: Found, scope: Scope) -> list[tuple[str, ast.expr, object]]:
    """Return the expressions in the definition of `cls` with what they give in it now.

    With these values it defines what `cls` is now.

    Raises:
        CannotWrite: that cannot be said.

    """
    node = found.node
    assert isinstance(node, ast.ClassDef)
    _check_head(cls, node, scope)
    wanted, pairs = _Attributes(cls, scope), list[tuple[str, ast.expr, object]]()
    for statement in node.body:
        pairs += wanted.of(statement)
    wanted.nothing_more()
    wanted.check_annotations(node)
    return pairs


def _check_head(cls: type, node: ast.ClassDef, scope: Scope) -> None:
    bases = cls.__dict__.get("__orig_bases__", cls.__bases__)
    wanted = () if bases == (object,) and not node.bases else bases
    given = [meaning(each, scope) for each in node.bases]
    if len(given) != len(wanted) or any(a is not b for a, b in zip(given, wanted, strict=True)):
        raise CannotWrite(f"the bases of {cls.__qualname__} cannot be told")
    for keyword in node.keywords:
        if keyword.arg != "metaclass" or meaning(keyword.value, scope) is not type(cls):
            raise CannotWrite(f"the class {cls.__qualname__} is made with {keyword.arg}")
    for decorator in node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if meaning(call, scope) not in _CLASS_DECORATORS or not _as_decorated(cls, decorator):
            raise CannotWrite(f"the class {cls.__qualname__} has a decorator")
    if "__dataclass_fields__" in vars(cls) and not node.decorator_list:
        raise CannotWrite(f"the class {cls.__qualname__} was decorated later")


def _as_decorated(cls: type, decorator: ast.expr) -> bool:
    """Whether the arguments of a decorator, if it has any, are those that it was called with."""
    if not isinstance(decorator, ast.Call):
        return True
    parameters = vars(cls).get("__dataclass_params__")
    for keyword in decorator.keywords:
        if keyword.arg is None or not isinstance(keyword.value, ast.Constant):
            return False
        if getattr(parameters, keyword.arg, keyword.value.value) is not keyword.value.value:
            return False
    return not decorator.args


def _is_maker(file: Path) -> bool:
    return any(file in (_STDLIB / f"{name}.py", _STDLIB / name / "__init__.py") for name in _MAKERS)


class _Attributes:
    """The attributes of a class, each of which a statement of its body has to account for."""

    def __init__(self, cls: type, scope: Scope) -> None:
        self._cls, self._scope = cls, scope
        self._left = {name: each for name, each in vars(cls).items() if name not in _GIVEN}
        self._fields: Mapping[str, dataclasses.Field[object]] = vars(cls).get(
            "__dataclass_fields__", {}
        )

    def of(self, statement: ast.stmt) -> Iterator[tuple[str, ast.expr, object]]:
        """Yield expressions of a statement with what they gave.

        Raises:
            CannotWrite: it does something else than to bind a name.

        """
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self._function(statement)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield from self._value(name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                if value is not None:
                    yield from self._value(name, value)
                elif isinstance(self._left.get(name), MemberDescriptorType):
                    del self._left[name]
            case _:
                raise CannotWrite(f"the body of the class {self._cls.__qualname__} runs code")

    def check_annotations(self, node: ast.ClassDef) -> None:
        """Check that none was added or taken away.

        Raises:
            CannotWrite: one was.

        """
        named = [
            self._mangled(each.target.id)
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        for part in ("__annotations__", "__annotations_cache__"):
            given = vars(self._cls).get(part)
            if given and list(given) != list(dict.fromkeys(named)):
                self._changed(part)

    def nothing_more(self) -> None:
        """Check that nothing is left that no statement accounts for.

        Raises:
            CannotWrite: something is.

        """
        slots = vars(self._cls).get("__slots__", ())
        slot_names = {*map(self._mangled, [slots] if isinstance(slots, str) else slots)}
        for name, value in self._left.items():
            if isinstance(value, GetSetDescriptorType) or (name == "__hash__" and value is None):
                continue
            if name == "__match_args__" and (self._fields or issubclass(self._cls, tuple)):
                continue
            if isinstance(value, MemberDescriptorType) and name in slot_names:
                continue
            if not self._is_made(name, value):
                self._changed(name)

    def _is_made(self, name: str, value: object) -> bool:
        """Whether an attribute comes from a dataclass, an enumeration and the like."""
        if isinstance(self._cls, enum.EnumMeta) and not isinstance(value, FunctionType):
            return name.startswith("_")  # its tables; members are among what is defined
        if "_fields" in vars(self._cls) and issubclass(self._cls, tuple):  # a named tuple
            fields = vars(self._cls)["_fields"]
            if name in ("_fields", "_field_defaults") or name in fields:
                return True
        inner = getattr(value, "__func__", value)
        if not isinstance(inner, FunctionType):
            return False
        made_by = inner.__code__.co_filename
        if made_by == "<string>":
            generated = bool(self._fields) or issubclass(self._cls, tuple)
            return generated and inner.__name__ == name
        return made_by.startswith("<frozen") or _is_maker(Path(made_by))

    def _changed(self, name: str) -> typing.NoReturn:
        raise CannotWrite(f"{self._cls.__qualname__}.{name} is not as its source defines it")

    # ---- methods ---------------------------------------------------------------------------------

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> Iterator[tuple[str, ast.expr, object]]:
        kind, name = self._kind(node), self._mangled(node.name)
        if kind is typing.overload:
            return
        value = vars(self._cls).get(name)
        self._left.pop(name, None)
        take: dict[object, Callable[[typing.Any], object]] = {
            None: lambda value: value,
            staticmethod: lambda value: value.__func__ if type(value) is staticmethod else None,
            classmethod: lambda value: value.__func__ if type(value) is classmethod else None,
            property: lambda value: value.fget if type(value) is property else None,
            "setter": lambda value: value.fset if type(value) is property else None,
            "deleter": lambda value: value.fdel if type(value) is property else None,
            functools.cached_property: lambda value: (
                value.func if type(value) is functools.cached_property else None
            ),
        }
        if name in ("__init_subclass__", "__class_getitem__") and type(value) is classmethod:
            value = value.__func__
        if name == "__new__" and type(value) is staticmethod:
            value = value.__func__
        function = take[kind](value)
        if not isinstance(function, FunctionType):
            self._changed(name)
        defined = definition_of(function).node
        if (defined.lineno, getattr(defined, "name", "")) != (node.lineno, node.name):
            self._changed(name)
        if set(vars(function)) - {"__isabstractmethod__", "__final__", "__override__"}:
            self._changed(name)
        yield from defaults_of(function, node.args)

    def _kind(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> object:
        kind: object = None
        for decorator in node.decorator_list:
            found = self._kind_of(decorator, node.name)
            if found in _MARKS and found is not typing.overload:
                continue
            if kind is not None or found is None:
                name = f"{self._cls.__qualname__}.{node.name}"
                raise CannotWrite(f"the method {name} has a decorator")
            kind = found
        return kind

    def _kind_of(self, decorator: ast.expr, name: str) -> object:
        if isinstance(decorator, ast.Attribute) and isinstance(decorator.value, ast.Name):
            part = decorator.attr
            if decorator.value.id == name and part in ("setter", "deleter"):
                return part
        found = meaning(decorator, self._scope)
        known = (staticmethod, classmethod, property, functools.cached_property, *_MARKS)
        return found if any(found is each for each in known) else None

    def _mangled(self, name: str) -> str:
        if not name.startswith("__") or name.endswith("__"):
            return name
        own = self._cls.__name__.lstrip("_")
        return f"_{own}{name}" if own else name

    # ---- values ----------------------------------------------------------------------------------

    def _value(self, name: str, expression: ast.expr) -> Iterator[tuple[str, ast.expr, object]]:
        name = self._mangled(name)
        left = self._left.pop(name, None)
        if name in self._fields:
            yield from self._field(name, expression)
        elif isinstance(self._cls, enum.EnumMeta) and isinstance(left, self._cls):
            yield name, expression, left.value
        elif isinstance(self._cls, enum.EnumMeta) and name in self._cls.__members__:
            yield name, expression, self._cls.__members__[name].value
        elif name in (made := vars(self._cls).get("_field_defaults", {})):
            yield name, expression, made[name]
        elif name in vars(self._cls):
            yield name, expression, vars(self._cls)[name]
        else:
            self._changed(name)

    def _field(self, name: str, expression: ast.expr) -> Iterator[tuple[str, ast.expr, object]]:
        field = self._fields[name]
        is_field = meaning(getattr(expression, "func", expression), self._scope) is (
            dataclasses.field
        )
        if not isinstance(expression, ast.Call) or not is_field:
            if vars(self._cls).get(name, field.default) is not field.default and not (
                isinstance(vars(self._cls).get(name), MemberDescriptorType)
            ):
                self._changed(name)
            yield name, expression, field.default
            return
        for keyword in expression.keywords:
            if keyword.arg in ("default", "default_factory"):
                yield name, keyword.value, getattr(field, keyword.arg)
            elif keyword.arg is None or not gives(
                keyword.value, getattr(field, keyword.arg, None), self._scope
            ):
                self._changed(name)


def unchanged(value: object, other: object) -> bool:
    """Whether two values of one name are one and the same, or equal constants."""
    return value is other or (
        isinstance(value, int | float | complex | str | bytes) and alike(value, other)
    )
