"""A profile as text: every figure in both languages, and every gap with its reason."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from fake_machine import about, as_the_article_says, changed, facts, having
from poolwise.explain.claims_text import claim_text, claims_text, summary
from poolwise.explain.decision_map import decision_map
from poolwise.explain.languages import VERDICTS, language_of
from poolwise.explain.map_text import map_text
from poolwise.explain.profile_text import facts_line, profile_text
from poolwise.explain.table import columns
from poolwise.machine import MachineProfile
from poolwise.machine.claims import CLAIMS, LANGUAGES, Language, claim, judge
from poolwise.machine.claims.vocabulary import FIELDS
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Figure, Gap, Sample

in_both_languages = pytest.mark.parametrize("language", LANGUAGES)


def text(measured: Measured, language: Language = "en") -> str:
    known = {each.name: getattr(measured, each.name) for each in fields(measured)}
    return profile_text(MachineProfile(**known), language)


def test_the_language_follows_the_name_of_the_locale() -> None:
    names = ["zh_CN.UTF-8", "zh-Hant", "Chinese (Simplified)_China.936", "ZH_tw"]
    assert {language_of(name) for name in names} == {"zh"}
    others = ["C", "", None, "en_GB.UTF-8", "POSIX"]
    assert {language_of(name) for name in others} == {"en"}


@in_both_languages
def test_it_has_every_field_of_every_dimension(language: Language) -> None:
    found = text(as_the_article_says(), language)
    turned = {f"communication.{name}" for name in ("carries", "lines", "system_calls", "objects")}
    turned |= {"communication.lock", "communication.contended"}
    for path, label in FIELDS.items():
        if path not in turned:
            assert label.in_(language) in found, path


@in_both_languages
def test_it_has_every_claim_with_its_verdict(language: Language) -> None:
    found = text(as_the_article_says(), language)
    for verdict in judge(as_the_article_says()):
        said = VERDICTS[verdict.kind].in_(language)
        assert re.search(rf"(?m)^{re.escape(verdict.claim.id)} +{said} ", found), verdict.claim.id


def test_chinese_text_is_chinese_but_for_names() -> None:
    found = text(as_the_article_says(), "zh")
    names = {"fork", "forkserver", "spawn", "cgroup", "poolwise", "process", "thread"}
    names |= {"threading", "multiprocessing"}
    # A capital letter begins a name: Queue, Lock, Shared Memory.
    assert set(re.findall(r"\b[a-z]{4,}\b", found)) <= names


@in_both_languages
def test_columns_are_aligned_where_characters_are_wide(language: Language) -> None:
    found = text(as_the_article_says(), language)
    (table,) = (part for part in found.split("\n\n") if "forkserver" in part.splitlines()[0])
    assert len({columns(row) for row in table.splitlines()}) == 1


@in_both_languages
def test_nothing_measured_is_said_and_nothing_fails(language: Language) -> None:
    found = text(Measured(facts()), language)
    not_measured = VERDICTS["not_measured"].in_(language)
    assert found.count(f"\n\n{not_measured}") == 6
    assert summary(judge(Measured(facts())), language) in found


@in_both_languages
def test_a_machine_full_of_gaps_names_each_reason(language: Language) -> None:
    measured = changed(as_the_article_says(), lambda figure: Gap("signals are refused"))
    found = text(measured, language)
    assert "signals are refused" in found
    assert "–" in found


def test_a_gap_is_a_dash_with_its_reason_below_the_table() -> None:
    gap = Gap("no module for interpreters")
    measured = having(as_the_article_says(), "resources.create", "interpreter", figure=gap)
    measured = having(measured, "resources.destroy", "interpreter", figure=gap)
    assert (
        "– to create (interpreter); to destroy (interpreter): no module for interpreters\n"
        in text(measured)
    )


def test_a_column_of_gaps_is_named_once() -> None:
    gap = Gap("no module for interpreters")
    measured = as_the_article_says()
    for path in FIELDS:
        if path.startswith("isolation.") and path not in ("isolation.segments",):
            measured = having(measured, path, "interpreter", figure=gap)
    assert "\n– interpreter: no module for interpreters\n" in text(measured)


def test_a_wide_spread_and_a_throttled_figure_are_marked() -> None:
    wide = Sample("s", (1e-3, 1e-3, 2e-3, 2e-3))
    assert "±" not in text(as_the_article_says())
    assert "1.5 ms ±33%" in text(
        having(as_the_article_says(), "resources.create", "fork", figure=wide)
    )
    throttled: Figure = replace(about("s", 1e-4), throttled=True)
    found = text(having(as_the_article_says(), "resources.create", "thread", figure=throttled))
    assert "100 µs !" in found
    assert "! measured while a quota took CPU time away" in found
    assert "!" not in text(as_the_article_says())


def test_it_shows_what_limits_the_cpus() -> None:
    limited = replace(facts(cpus=0.5), cpu_limit="cgroup quota", free_memory=None)
    assert facts_line(limited, "en").endswith("0.5 usable CPUs (cgroup quota)")
    assert facts_line(limited, "zh").endswith("可用 CPU 0.5 个（cgroup 配额）")


# ---- the map -------------------------------------------------------------------------------------


@in_both_languages
def test_the_map_has_a_letter_for_each_length_and_a_line_for_each_break_even(
    language: Language,
) -> None:
    found = decision_map(MachineProfile(facts()))
    said = map_text(found, language)
    rows = re.findall(r"(?m)  ([·TPX]{22})  ([·TPX]{22})  ([·TPX]{22})$", said)
    assert len(rows) == len(found.waits + found.computes) / 3
    assert len(said.split("\n\n")[-1].splitlines()) == len(found.break_evens)


def test_break_evens_read_as_sentences() -> None:
    said = map_text(decision_map(MachineProfile(facts())), "en")
    assert re.search(r"processes beat threads from [\d.]+ µs a task \(GIL held 100%", said)
    alone = map_text(decision_map(MachineProfile(facts(cpus=1.0))), "en")
    assert "processes never beat threads" in alone


# ---- claims --------------------------------------------------------------------------------------


def test_the_list_says_on_what_a_verdict_depends() -> None:
    measured = having(
        as_the_article_says(),
        "concurrency.speedup",
        "releases the GIL",
        "thread",
        2,
        figure=about("x", 1.8),
    )
    found = claims_text(judge(measured), "en")
    row = next(part for part in found.split("\n4.") if part.startswith("T.3"))
    assert "depends" in row.splitlines()[0]
    assert row.splitlines()[1].strip().startswith("on whether the computing is done by C code")
    assert all(columns(each) <= 96 for each in found.splitlines())


@in_both_languages
@pytest.mark.parametrize("each", CLAIMS, ids=lambda each: each.id)
def test_one_claim_in_full_shows_rule_and_every_figure(language: Language, each) -> None:
    verdict = each.judge(as_the_article_says())
    said = claim_text(verdict, language)
    flat = re.sub(r"\s+", "", said)
    for part in (each.text.in_(language), each.text.zh, each.rule.in_(language)):
        assert re.sub(r"\s+", "", part) in flat
    for evidence in verdict.evidence:
        assert f"{evidence.label.in_(language)} = " in said
    assert f"--claim {each.id} --code" in said


def test_one_claim_in_full_shows_spread_count_and_gaps() -> None:
    measured = having(
        as_the_article_says(),
        "resources.switch",
        "process",
        figure=Sample("s", (1.2e-6, 1.3e-6, 1.4e-6)),
    )
    said = claim_text(claim("2.P.3").judge(measured), "en")
    assert (
        "process: a switch, on one CPU = 1.3 µs (3 readings, middle half 1.2 µs to 1.4 µs)" in said
    )
    missing = claim_text(claim("2.P.3").judge(Measured(facts())), "zh")
    assert "进程：一次切换（同一个 CPU） = –（未测量这一维度）" in missing
