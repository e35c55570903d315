"""`docs/loop-semantics.md` names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "loop-semantics.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE.read_text())
    assert len(named) > 20
    for file, name in named:
        assert f"def {name}(" in (TESTS / file).read_text(), f"{file} has no {name}"
