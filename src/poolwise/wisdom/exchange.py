"""Wisdom as a JSON document, to be carried into an image or to a machine of the same kind."""

from __future__ import annotations

import json
from collections.abc import Iterable

from poolwise.wisdom.entry import FORMAT, Entry


def exported(entries: Iterable[Entry]) -> str:
    """Return entries as a document."""
    documents = [each.to_document() for each in entries]
    document = {"format": FORMAT, "kind": "wisdom", "entries": documents}
    return json.dumps(document, indent=1, allow_nan=False)


def imported(text: str) -> list[Entry]:
    """Return the entries of a document.

    Raises:
        ValueError: it is none, of another format, or damaged; no entry of it can be trusted then.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(document, dict) or document.get("kind") != "wisdom":
        raise ValueError("it is no wisdom that was exported")
    if document.get("format") != FORMAT:
        raise ValueError(f"its format is {document.get('format')!r}; this poolwise reads {FORMAT}")
    entries = document.get("entries")
    if not isinstance(entries, list):
        raise ValueError("it has no list of entries")
    return [Entry.from_document(each) for each in entries]
