"""Which part of an object keeps it from being pickled: the path to it, as one would write it."""

from __future__ import annotations

from _poolwise_worker.errors import TransferError
from _poolwise_worker.timeouts import kind
from _poolwise_worker.transfer import describe, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many objects are tried before the search gives up and names the smallest found so far.
_TRIES = 1000

#: Characters of a long path that are shown, at its start and at its end.
_KEPT = 100

#: What can be sent instead of things that are often meant to be, by the names of their types.
_INSTEAD = {
    "generator": "a list of what it yields can",
    **dict.fromkeys(
        ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO"),
        "its name can be sent, and opened there",
    ),
    **dict.fromkeys(("socket", "Connection", "Cursor"), "connect inside of the call"),
}

#: What of these modules can be had from poolwise, to be sent: by its name, and the one there.
_OF_THREADS = ("_thread", "threading", "_queue", "queue", "multiprocessing")
_THERE = {
    "lock": "Lock",
    "Lock": "Lock",
    "RLock": "RLock",
    "Condition": "Condition",
    "Semaphore": "Semaphore",
    "BoundedSemaphore": "BoundedSemaphore",
    "Event": "Event",
    "Barrier": "Barrier",
    **dict.fromkeys(("Queue", "SimpleQueue", "JoinableQueue"), "Queue"),
}


def explain(value: object, name: str, error: BaseException) -> str:
    """Say which part of `value`, itself called `name`, raised `error` when it was pickled, and
    what would do in its place if that is known.
    """
    path, parts, error = _smallest(value, name, error)
    part = parts[-1]
    where = name if path == name else f"{_short(path)} (in {name}, {kind(value)})"
    instead = _instead_of(parts)
    text = f"{where} is {kind(part)} that cannot be pickled: {describe(error)}"
    return f"{text}; {instead}" if instead else text


def _instead_of(parts: list[object]) -> str | None:
    """Say what would do instead of the outermost of these that is known: a queue, not its lock."""
    for part in parts:
        cls = type(part)
        name = _THERE.get(cls.__name__)
        if name is not None and cls.__module__.partition(".")[0] in _OF_THREADS:
            return f"a poolwise.{name} can be sent"
    return _INSTEAD.get(type(parts[-1]).__name__)


def _short(path: str) -> str:
    """Return the path without its middle if it is long: a list in a list, a thousand deep."""
    if len(path) <= 2 * _KEPT:
        return path
    return f"{path[:_KEPT]} … {path[-_KEPT:]}"


def _smallest(
    value: object, path: str, error: BaseException
) -> tuple[str, list[object], BaseException]:
    """Descend into the first part that does not pickle either, as far as there is one; return all
    on the way.
    """
    parts, seen = [value], {id(value)}
    tries = 0
    while not (isinstance(error, TransferError) and _is_ours(value)):  # which says enough
        for step, part in _parts(value):
            tries += 1
            if id(part) in seen or tries > _TRIES:
                continue
            try:
                dumps(part)
            except Exception as another:
                seen.add(id(part))
                value, path, error = part, path + step, another
                parts.append(part)
                break
        else:
            break
    return path, parts, error


def _is_ours(value: object) -> bool:
    """Whether it is an object of poolwise, or of a class derived from one."""
    packages = {str(each.__module__).partition(".")[0] for each in type(value).__mro__}
    return not packages.isdisjoint(("poolwise", "_poolwise_worker"))


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, each in list(value.items()):
            yield f"[{key!r:.80}]", each
        for key in list(value):
            yield f" key {key!r:.80}", key
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield f"[{place}]", each
    elif isinstance(value, set | frozenset):
        for each in list(value):
            yield f" member {each!r:.80}", each
    for name, each in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", each
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name) and name not in ("__dict__", "__weakref__"):
                yield f".{name}", getattr(value, name)
    closure = getattr(value, "__closure__", None)
    if closure:
        for name, cell in zip(value.__code__.co_freevars, closure, strict=True):  # type: ignore[attr-defined]
            try:
                yield f" variable {name}", cell.cell_contents
            except ValueError:
                pass  # not bound yet
