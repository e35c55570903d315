"""A machine's profile as text: the six dimensions, the decision map, the claims."""

from __future__ import annotations

from poolwise.explain import languages
from poolwise.explain.claims_text import claims_text
from poolwise.explain.decision_map import decision_map
from poolwise.explain.dimension_tables import dimension_text
from poolwise.explain.figures import aside
from poolwise.explain.map_text import map_text
from poolwise.explain.table import paragraph
from poolwise.machine import MachineProfile
from poolwise.machine.claims import Language
from poolwise.machine.facts import Facts
from poolwise.units import size

_INDENT = 9


def profile_text(profile: MachineProfile, language: Language = "en") -> str:
    """Return the whole text. What was not measured is said, not estimated."""
    parts = paragraph(
        languages.HERE.in_(language), [facts_line(profile.facts, language)], indent=_INDENT
    )
    for section in range(1, 7):
        parts.append(dimension_text(profile, section, language))
        if section == 5:
            parts.append(map_text(decision_map(profile), language))
    parts.append(claims_text(profile.claims, language))
    text = "\n\n".join(parts)
    # The mark stands alone behind a figure or a verdict, and nowhere else.
    if " !" in text:
        text += "\n\n" + languages.THROTTLED.in_(language)
    return text


def facts_line(facts: Facts, language: Language) -> str:
    """Return the machine as this process may use it."""
    gil = languages.GIL_ON if facts.gil else languages.GIL_OFF
    cpus = languages.CPUS.in_(language).format(count=f"{facts.usable_cpus:.3g}")
    limit = languages.CPU_LIMITS.get(facts.cpu_limit)
    by = facts.cpu_limit if limit is None else limit.in_(language)
    parts = [f"{facts.python}, {gil.in_(language)}", cpus + aside(by, language)]
    if facts.free_memory is not None:
        parts.append(languages.FREE.in_(language).format(size=size(facts.free_memory)))
    return " · ".join(parts)
