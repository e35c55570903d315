"""The workloads of `bench_regret.py`: which there are, and where they stand.

Naming one imports only the module that holds it, so that a process which measures work on strings
has neither NumPy's memory nor its threads.
"""

from __future__ import annotations

from importlib import import_module

from _workload import Workload

#: By module, in the order of the table.
NAMES: dict[str, tuple[str, ...]] = {
    "_workloads_python": (
        "tiny calls", "parse JSON", "count primes", "skewed lengths", "two long inputs",
        "a handful", "few short calls", "generator", "regular expressions", "large results",
        "drift",
    ),
    "_workloads_c": ("SHA-256", "compress", "derive keys", "query SQLite"),
    "_workloads_arrays": (
        "matrix products", "small systems", "sum arrays", "make arrays", "scale arrays",
        "sort arrays",
    ),
    "_workloads_images": ("thumbnails", "blur"),
    "_workloads_frames": ("group frames",),
    "_workloads_waiting": (
        "sleep", "few long waits", "HTTP", "HTTP, 8 slots", "files", "child processes",
        "wait, compute a bit", "wait, compute a lot",
    ),
}  # fmt: skip

#: Others, by somebody who had not seen how the choice is made: what is tuned to the first ones
#: shows here. In the same form.
SECOND: dict[str, tuple[str, ...]] = {
    "_workloads_text": (
        "XML orders", "CSV to dicts", "count words", "edit distances", "parse dates",
    ),
    "_workloads_puzzles": (
        "growing fractions", "Mandelbrot rows", "sudoku", "load model, score", "memoised routes",
        "every tenth waits", "slow generator",
    ),
    "_workloads_storage": ("gzip logs", "SQLite inserts", "small files", "three archives"),
    "_workloads_numbers": ("FFT", "tiny NumPy calls", "invert matrices"),
    "_workloads_tables": ("merge frames",),
    "_workloads_services": ("TCP echo", "HTTP, warming up", "HTTP 503, retries", "python -c"),
}  # fmt: skip

MODULES = {name: module for module, names in {**NAMES, **SECOND}.items() for name in names}


def load(name: str) -> Workload:
    """Import a workload."""
    workloads: dict[str, Workload] = import_module(MODULES[name]).WORKLOADS
    return workloads[name]
