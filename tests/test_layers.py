"""Imports follow the data: a room imports what stands to its left, never to its right."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
PACKAGES = ("_poolwise_worker", "poolwise")

#: Left to right; the rooms in one entry are peers, which do not import each other.
#: A room is a module `poolwise/NAME.py` or a package `poolwise/NAME/`, and `_poolwise_worker`.
ORDER = (
    ("_poolwise_worker", "units"),
    ("task", "plan"),
    ("errors",),
    ("timing", "ipc"),
    ("mechanisms",),
    ("worker",),
    ("machine",),
    ("probe",),
    ("cost",),
    ("planner",),
    ("wisdom",),
    ("executor",),
    ("explain",),
    ("testing", "api"),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

#: How a test for "only the type checker reads this" is written.
TYPE_CHECKING = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}

#: The public names, `python -m poolwise` and programs that are run, not imported: they stand
#: outside the order and may import anything.
FREE = {
    "poolwise.__init__",
    "poolwise.__main__",
    "poolwise.machine.programs.process_worker",
    "poolwise.machine.programs.thread_worker",
}


def wrong_arrows(modules: Iterable[tuple[str, str]]) -> list[str]:
    """Say what is wrong with the imports of `modules`, pairs of a dotted name and its source.

    A package's own module is named with its file: `poolwise.machine.__init__`.
    """
    return [wrong for name, source in modules for wrong in _wrong_in(name, ast.parse(source))]


def _wrong_in(module: str, tree: ast.Module) -> Iterator[str]:
    room = _room(module)
    if module in FREE:
        return
    if room not in RANK:
        yield f"{module}: no room '{room}' in the order; add it to ORDER in {Path(__file__).name}"
        return
    for line, target in _imports(module, ast.walk(tree)):
        if target.partition(".")[0] in PACKAGES and (why := _objection(room, _room(target))):
            yield f"{module}:{line}: imports {target}: {why}"
    if room == "_poolwise_worker":
        for line, target in _imports(module, _run_at_import(tree.body)):
            if target.partition(".")[0] not in {*sys.stdlib_module_names, *PACKAGES}:
                yield f"{module}:{line}: imports {target}: only in functions: not standard library"


def _objection(room: str, target: str) -> str | None:
    if target == room:
        return None
    if target not in RANK:
        return (
            f"'{target}' is no room in the order; import a name from the room that defines it "
            f"(a new room: add it to ORDER in {Path(__file__).name})"
        )
    if RANK[target] == RANK[room]:
        return f"'{target}' and '{room}' are peers"
    return f"'{target}' stands to the right of '{room}'" if RANK[target] > RANK[room] else None


def _room(name: str) -> str:
    """The room that a dotted name belongs to."""
    top, _, rest = name.partition(".")
    return (rest.partition(".")[0] or "poolwise") if top == "poolwise" else top


def _imports(module: str, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """The line and the full dotted name of everything that `nodes` import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            base += [node.module] if node.module else []
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def _run_at_import(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """`nodes` and what is below them, without what importing the module does not run."""
    for node in nodes:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in TYPE_CHECKING:
            yield from _run_at_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _run_at_import(ast.iter_child_nodes(node))


def _module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


def test_no_wrong_arrow() -> None:
    modules = [
        (_module_name(path, SRC), path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((SRC / package).rglob("*.py"))
    ]
    assert {"poolwise.__init__", "_poolwise_worker.__init__"} <= dict(modules).keys()
    assert not (wrong := wrong_arrows(modules)), "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source", "why"),
    [
        ("poolwise.cost.model", "from poolwise.executor import Executor", "to the right of 'cost'"),
        ("poolwise.cost.model", "import poolwise.executor.record as r", "to the right of 'cost'"),
        ("poolwise.cost.model", "from poolwise import planner", "to the right of 'cost'"),
        ("poolwise.cost.model", "from ..planner import choose", "to the right of 'cost'"),
        ("poolwise.cost.__init__", "from .. import planner", "to the right of 'cost'"),
        ("poolwise.cost.model", "def f():\n  import poolwise.cli", "to the right of 'cost'"),
        ("poolwise.cost.model", "if TYPE_CHECKING:\n  import poolwise.cli", "to the right of"),
        ("poolwise.task", "from .errors import PoolwiseError", "to the right of 'task'"),
        ("poolwise.ipc.pipe", "from poolwise.timing import clock", "are peers"),
        ("poolwise.api", "from poolwise import testing", "are peers"),
        ("poolwise.units", "import _poolwise_worker", "are peers"),
        ("poolwise.api", "from poolwise import map", "'map' is no room"),
        ("poolwise.cli.main", "import poolwise", "'poolwise' is no room"),
        ("poolwise.utils", "", "no room 'utils' in the order; add it to ORDER"),
        ("_poolwise_worker.loop", "def f():\n  from poolwise.units import Seconds", "are peers"),
        ("_poolwise_worker.loop", "def f():\n  from poolwise.ipc import pipe", "to the right of"),
        ("_poolwise_worker.loop", "import cloudpickle", "only in functions"),
        ("_poolwise_worker.loop", "try:\n  import numpy.linalg\nfinally: 0", "only in functions"),
        ("_poolwise_worker.loop", "if not TYPE_CHECKING:\n  import tqdm", "only in functions"),
        ("_poolwise_worker.loop", "class A:\n  from psutil import Process", "only in functions"),
        (
            "_poolwise_worker.loop",
            "if TYPE_CHECKING: 0\nelse:\n  import tqdm",
            "only in functions",
        ),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str, why: str) -> None:
    (wrong,) = wrong_arrows([(module, source)])
    assert wrong.startswith(module)
    assert why in wrong


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("poolwise.__init__", "from poolwise.cli import main"),
        ("poolwise.__main__", "from poolwise.cli import main"),
        ("poolwise.cli", "from poolwise.units import Seconds\nimport json, tqdm"),
        ("poolwise.errors", "from poolwise.task import Refusal"),
        ("poolwise.ipc.pipe", "from . import serial\nfrom .serial import dumps"),
        ("poolwise.ipc.__init__", "from .pipe import Pipe\nfrom _poolwise_worker import arena"),
        ("poolwise.machine.facts", "from ..timing.clock import Clock\nfrom .. import units"),
        ("_poolwise_worker.loop", "import os\nfrom . import wire\nfrom .wire import read"),
        ("_poolwise_worker.loop", "def f():\n  import cloudpickle"),
        ("_poolwise_worker.loop", "if TYPE_CHECKING:\n  from numpy import ndarray"),
    ],
)
def test_a_right_arrow_is_let_through(module: str, source: str) -> None:
    assert wrong_arrows([(module, source)]) == []


def _loaded_by(*names: str) -> set[str]:
    """The modules that importing `names` loads in a fresh interpreter.

    Without `site`, whose .pth files may load anything, and with this process's path.
    """
    program = f"""
import sys
before, sys.path[:] = set(sys.modules), {sys.path!r}
import {", ".join(names)}
print(*(set(sys.modules) - before))
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def _belong_to(modules: Iterable[str], packages: str) -> list[str]:
    return sorted(m for m in modules for p in packages.split() if f"{m}.".startswith(f"{p}."))


def _installed_modules(package: str) -> list[str]:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    files = sorted(folder.rglob("*.py"))
    return [_module_name(path, folder.parent).removesuffix(".__init__") for path in files]


def test_a_worker_starts_with_next_to_nothing() -> None:
    # Creation cost is what a worker imports; `dataclasses` alone brings `inspect`, `ast` and `dis`,
    # and so does `traceback` since Python 3.14.
    loaded = _loaded_by(*_installed_modules("_poolwise_worker"))
    assert "_poolwise_worker" in loaded
    heavy = (
        "poolwise cloudpickle numpy dataclasses typing inspect logging "
        "asyncio multiprocessing concurrent"
    )
    assert not _belong_to(loaded, heavy)


def test_importing_poolwise_loads_nothing_heavy() -> None:
    loaded = _loaded_by("poolwise")
    assert "poolwise" in loaded
    heavy = "cloudpickle tqdm numpy argparse asyncio multiprocessing concurrent.futures.process"
    assert not _belong_to(loaded, heavy)
