"""What must be the same for a measurement to hold."""

from __future__ import annotations

import _imp
import sys
from dataclasses import asdict, dataclass

from poolwise.machine.facts import Facts


def digest(text: str) -> str:
    """Return 16 letters that hardly any other text has: the same in every process of this Python.

    By what compiled modules are checked with: `hashlib` loads OpenSSL, which takes 2 ms.
    """
    return _imp.source_hash(0, text.encode("utf-8", "surrogatepass")).hex()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The machine, as this Python may use it, and the library that measured.

    `python` is the build, not only the version; `quota` says what limits the CPUs.
    """

    cpu: str
    usable_cpus: float
    quota: str
    kernel: str
    python: str
    gil: bool
    start_methods: tuple[str, ...]
    library: str

    @property
    def short(self) -> str:
        """A few letters that hardly any other has: for a file name."""
        return digest(repr(tuple(asdict(self).items())))

    def require(self, other: Fingerprint) -> None:
        """Accept a measurement with another fingerprint where that is the same.

        Raises:
            StaleProfile: it is not; the error says in what.
        """
        here, there = asdict(self), asdict(other)
        differences = {
            name: (there[name], value) for name, value in here.items() if there[name] != value
        }
        if differences:
            from poolwise.errors import StaleProfile  # slow to import, and every run asks

            raise StaleProfile(differences)


def fingerprint_of(facts: Facts) -> Fingerprint:
    """Return the fingerprint of this machine, whose facts these are."""
    return Fingerprint(
        cpu=facts.cpu,
        usable_cpus=facts.usable_cpus,
        quota=facts.cpu_limit,
        kernel=facts.kernel,
        python=sys.version,
        gil=facts.gil,
        start_methods=facts.start_methods,
        # The package is there before any module of it; its `__init__` may import nothing of ours.
        library=sys.modules["poolwise"].__version__,
    )
