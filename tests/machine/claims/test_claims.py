"""The statements are the article's, all of it, and no verdict is written down beforehand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fake_machine import about, answer, as_the_article_says, count, facts, having, opposite
from poolwise import machine
from poolwise.machine.claims import CLAIMS, KINDS, Claim, claim, judge, rows
from poolwise.machine.claims.readings import (
    CpuFact,
    Field,
    GilFact,
    Lowest,
    Printed,
    Reading,
    SameThroughWorker,
    Speedup,
)
from poolwise.machine.claims.rules import Explained
from poolwise.machine.claims.vocabulary import DIMENSION_MISSING, FIGURE_MISSING, GAPS
from poolwise.machine.measured import Measured
from poolwise.timing import repeat
from poolwise.timing.sample import Gap, Sample

ARTICLE = Path(__file__).with_name("article.zh.md").read_text(encoding="utf-8")

#: What stands between statements: the sides' names, "for example", "in Python", and the like.
CONNECTIVES = set(
    re.findall(
        r"\S+", "进程 线程 在 中 如 例如 同时 此外 因此 不过 等 Python 但需要注意的是 在这种场景下"
    )
)

DECIDED = [each for each in CLAIMS if not isinstance(each.decided, Explained)]


def named(each: Claim) -> str:
    return each.id


every_claim = pytest.mark.parametrize("each", CLAIMS, ids=named)
every_decided_claim = pytest.mark.parametrize("each", DECIDED, ids=named)


def kind(id: str, measured: Measured) -> str:
    return claim(id).judge(measured).kind


# ---- the statements ------------------------------------------------------------------------------


def parts_of_the_article() -> Iterator[tuple[str, str]]:
    """Each part as section and side, with its text."""
    opening, *sections = re.split(r"### (?=\d)", ARTICLE)
    yield "0.S", opening
    sections[-1], closing = sections[-1].split("总结来说，")
    for section in sections:
        number = section[0]
        processes, threads = section.split("* **线程** ：")
        yield f"{number}.P", processes
        yield f"{number}.T", threads
    yield "6.S", closing


PARTS = dict(parts_of_the_article())


@every_claim
def test_each_is_verbatim_and_from_the_part_that_its_id_names(each: Claim) -> None:
    part, _, _ = each.id.rpartition(".")
    assert each.text.zh in PARTS[part]
    assert each.section == int(each.id[0])


def test_together_they_are_the_whole_article() -> None:
    prose = re.sub(r"(?s)```.*?```|^---.*?---", "", "\n".join(PARTS.values()))
    for said in sorted({each.text.zh for each in CLAIMS}, key=len, reverse=True):
        prose = prose.replace(said, "｜")
    left = re.split(r"[｜\s。；：，、*]+|\d\\\..*", prose)
    assert set(left) - {""} <= CONNECTIVES


def test_ids_count_the_statements_of_each_part_in_their_order() -> None:
    for part, text in PARTS.items():
        ids = [each.id for each in CLAIMS if each.id.startswith(part)]
        assert ids == [f"{part}.{number}" for number in range(1, len(ids) + 1)]
        places = [text.index(claim(id).text.zh) for id in ids]
        assert all(before <= after for before, after in pairwise(places)), part


def test_they_come_in_the_order_of_the_article() -> None:
    assert [each.section for each in CLAIMS] == sorted(each.section for each in CLAIMS)
    assert len({each.id for each in CLAIMS}) == len(CLAIMS)


def test_a_claim_is_found_by_its_id() -> None:
    assert claim(" 3.t.2 ").id == "3.T.2"
    with pytest.raises(ValueError, match=r"no claim '9.P.1'.*0\.S\.1, 1\.P\.1.*6\.S\.2"):
        claim("9.P.1")


@every_claim
def test_its_rule_is_a_sentence_in_both_languages(each: Claim) -> None:
    assert re.fullmatch(r"[A-Z][^\n]*\.", each.rule.en)
    assert re.fullmatch(r"[^\n]*[\u4e00-\u9fff][^\n]*。", each.rule.zh)
    for reading in each.readings:
        assert reading.label.en
        assert reading.label.zh


# ---- the verdicts --------------------------------------------------------------------------------

#: Of these a machine can show that they hold, but not that they do not.
NEVER_REFUTED = {"3.T.3", "5.T.3"}


@every_decided_claim
def test_each_turns_from_one_machine_to_its_opposite(each: Claim) -> None:
    here, there = as_the_article_says(), opposite(as_the_article_says())
    assert each.judge(here).kind == "holds"
    expected = "depends" if each.id in NEVER_REFUTED else "does_not_hold"
    assert each.judge(there).kind == expected, each.judge(there).why.en


@every_claim
def test_without_any_dimension_it_is_not_measured(each: Claim) -> None:
    verdict = each.judge(Measured(facts()))
    if each.id == "4.T.1":  # a fact
        assert verdict.kind == "holds"
        return
    assert verdict.kind == "not_measured"
    assert "this dimension was not measured" in verdict.why.en
    assert "未测量这一维度" in verdict.why.zh


def without(measured: Measured, reading: Reading) -> Measured:
    """The machine on which this one figure could not be had."""
    gap = Gap("refused here")
    match reading:
        case Field(path, keys):
            return having(measured, path, *keys, figure=gap)
        case Lowest(_, path, keys):
            for key in keys:
                measured = having(measured, path, key, figure=gap)
            return measured
        case Speedup(work, mechanism):
            return having(measured, "concurrency.speedup", work, mechanism, 2, figure=gap)
        case Printed() | SameThroughWorker():
            return replace(measured, implementation=None)
        case _:
            raise AssertionError(f"how can {reading} be missing?")


@every_decided_claim
def test_any_missing_figure_leaves_it_undecided_with_the_reason(each: Claim) -> None:
    for reading in each.decided.readings:
        if isinstance(reading, GilFact | CpuFact):
            continue
        verdict = each.judge(without(as_the_article_says(), reading))
        assert verdict.kind == "not_measured", reading
        assert "refused here" in verdict.why.en or "not measured" in verdict.why.en
        assert any(isinstance(each.figure, Gap) for each in verdict.evidence)


@every_claim
def test_a_figure_beside_it_may_be_missing(each: Claim) -> None:
    for reading in each.beside:
        if not isinstance(reading, Field | Speedup):
            continue
        if reading not in each.decided.readings:
            missing = without(as_the_article_says(), reading)
            assert each.judge(missing).kind == each.judge(as_the_article_says()).kind


@pytest.mark.parametrize("each", [c for c in CLAIMS if c not in DECIDED], ids=named)
def test_what_is_only_explained_has_a_figure_beside_it(each: Claim) -> None:
    verdict = each.judge(as_the_article_says())
    assert verdict.kind == "explained"
    assert verdict.why.en
    assert any(isinstance(each.figure, Sample) for each in verdict.evidence)


def test_every_kind_of_verdict_is_known() -> None:
    machines = (as_the_article_says(), opposite(as_the_article_says()), Measured(facts()))
    seen = {verdict.kind for machine in machines for verdict in judge(machine)}
    assert seen == set(KINDS)


# ---- what it depends on ----------------------------------------------------------------------


def test_figures_within_each_others_spread_decide_nothing() -> None:
    machine = having(
        as_the_article_says(),
        "resources.switch",
        "thread",
        figure=Sample("s", (1.0e-6, 1.1e-6, 1.4e-6)),
    )
    machine = having(
        machine, "resources.switch", "process", figure=Sample("s", (1.0e-6, 1.3e-6, 1.4e-6))
    )
    for id in ("2.P.3", "2.T.3"):
        verdict = claim(id).judge(machine)
        assert verdict.kind == "not_measured"
        assert "too close to tell" in verdict.why.en
        assert "相差太小" in verdict.why.zh


def test_readings_that_contradict_each_other_decide_nothing() -> None:
    machine = having(
        as_the_article_says(),
        "isolation.write_seen",
        "process",
        figure=Sample("yes", (0.0, 1.0, 0.0)),
    )
    assert kind("1.P.3", machine) == "not_measured"


def test_equal_counts_are_not_less() -> None:
    machine = having(as_the_article_says(), "communication.lines", "variable", figure=count(5))
    assert kind("3.P.6", machine) == "depends"
    assert "lines" in claim("3.P.6").judge(machine).why.en


def test_one_facet_of_several_makes_it_depend_on_which() -> None:
    machine = having(as_the_article_says(), "isolation.own_limits", "process", figure=answer(False))
    verdict = claim("1.P.1").judge(machine)
    assert verdict.kind == "depends"
    assert "resource limits" in verdict.why.en
    assert "descriptors" not in verdict.why.en


def test_threads_gain_where_c_code_releases_the_gil() -> None:
    speedup = about("x", 1.8)
    machine = having(
        as_the_article_says(),
        "concurrency.speedup",
        "releases the GIL",
        "thread",
        2,
        figure=speedup,
    )
    verdict = claim("4.T.3").judge(machine)
    assert (verdict.kind, "C code" in verdict.why.en) == ("depends", True)


def test_without_a_gil_one_thread_at_a_time_is_not_for_want_of_one() -> None:
    """Two threads that got one CPU between them, on a build without a GIL: it was not the GIL."""
    machine = replace(as_the_article_says(), facts=facts(gil=False))
    assert kind("4.T.1", machine) == kind("4.T.2", machine) == kind("4.T.4", machine)
    assert kind("4.T.2", machine) == "does_not_hold"


def test_no_race_this_time_is_no_proof() -> None:
    machine = as_the_article_says()
    for name in ("lost_plain", "lost_with_call"):
        machine = having(machine, f"communication.{name}", figure=count(0))
    assert kind("3.T.3", machine) == "depends"
    assert kind("3.T.4", machine) == "depends"
    only_with_call = having(
        machine, "communication.lost_with_call", figure=Sample("1", (0.0, 0.0, 0.0, 9_000.0))
    )
    assert kind("3.T.3", only_with_call) == "holds"
    assert kind("3.T.4", only_with_call) == "holds"


def test_one_moment_on_two_cpus_shows_that_it_can_be() -> None:
    """On a busy machine most moments have one."""
    rarely = Sample("1", (1.0,) * 19 + (2.0,))
    machine = having(as_the_article_says(), "concurrency.cpus_at_once", "process", figure=rarely)
    assert kind("4.P.1", machine) == kind("4.P.4", machine) == "holds"


@pytest.mark.parametrize(
    ("neighbour", "on"), [("memory", "memory bandwidth"), ("computing", "quota")]
)
def test_other_processes_disturb_by_what_is_shared(neighbour: str, on: str) -> None:
    machine = having(
        as_the_article_says(), "concurrency.neighbour", neighbour, figure=about("x", 1.6)
    )
    verdict = claim("4.P.3").judge(machine)
    assert (verdict.kind, on in verdict.why.en) == ("depends", True)


@pytest.mark.parametrize(
    "id", ["4.P.1", "4.P.2", "4.P.3", "4.P.4", "4.T.2", "4.T.4", "5.P.2", "5.P.3", "5.P.4"]
)
def test_one_cpu_cannot_show_what_several_do(id: str) -> None:
    machine = replace(opposite(as_the_article_says()), facts=facts(cpus=1.0))
    verdict = claim(id).judge(machine)
    assert (verdict.kind, "CPUs" in verdict.why.en) == ("depends", True)


#: What two processes show only where nobody else has the CPUs.
NEEDS_FREE_CPUS = [
    "4.P.1",
    "4.P.2",
    "4.P.3",
    "4.P.4",
    "4.T.2",
    "4.T.3",
    "4.T.4",
    "5.P.1",
    "5.P.2",
    "5.P.3",
    "5.P.4",
    "6.S.1",
    "6.S.2",
]


@pytest.mark.parametrize("id", NEEDS_FREE_CPUS)
def test_a_machine_that_others_keep_busy_refutes_nothing(id: str) -> None:
    machine = replace(opposite(as_the_article_says()), facts=facts())
    for kind_of_work in ("holds the GIL", "releases the GIL"):
        for mechanism in ("thread", "process"):
            path = ("concurrency.speedup", kind_of_work, mechanism, 2)
            machine = having(machine, *path, figure=about("x", 1.0))
    for name in ("thread", "process"):
        machine = having(machine, "concurrency.bytecode_at_once", name, figure=about("x", 0.9))
    verdict = claim(id).judge(machine)
    assert (verdict.kind, verdict.why.en) == ("not_measured", "other work kept the CPUs busy")


def test_threads_may_do_as_well_as_processes() -> None:
    for id, work in (("5.P.2", "scientific"), ("5.P.3", "image"), ("5.P.1", "C without GIL")):
        machine = having(
            as_the_article_says(), "suitability.makespan", work, "thread", figure=about("s", 0.5)
        )
        assert kind(id, machine) == "depends"


def test_processes_may_be_faster_still_in_the_network() -> None:
    machine = having(
        as_the_article_says(),
        "suitability.makespan",
        "network",
        "process",
        figure=about("s", 0.05),
    )
    assert kind("5.T.2", machine) == "depends"


def test_starting_processes_may_take_what_they_win() -> None:
    machine = having(
        as_the_article_says(),
        "suitability.makespan",
        "pure python",
        "process",
        figure=about("s", 1.0),
    )
    assert kind("4.P.4", machine) == "depends"


def test_a_loop_may_beat_threads_at_short_tasks() -> None:
    machine = having(
        as_the_article_says(),
        "suitability.makespan",
        "short tasks",
        "loop",
        figure=about("s", 0.001),
    )
    verdict = claim("5.T.6").judge(machine)
    assert (verdict.kind, "loop" in verdict.why.en) == ("depends", True)


def test_the_cheapest_start_method_that_there_is_counts() -> None:
    machine = as_the_article_says()
    for missing in ("fork", "forkserver"):
        machine = having(machine, "resources.create_and_join", missing, figure=Gap("not here"))
    verdict = claim("2.T.1").judge(machine)
    assert verdict.kind == "holds"
    figures = {each.label.en: each.figure for each in verdict.evidence}
    cheapest = figures["process, cheapest start method: to create and join"]
    assert isinstance(cheapest, Sample)
    assert cheapest.median == pytest.approx(4e-2)


def test_speedup_is_taken_at_a_worker_for_each_cpu() -> None:
    machine = replace(as_the_article_says(), facts=facts(cpus=4.0))
    machine = having(machine, "concurrency.speedup", "waits", "thread", 4, figure=about("x", 1.0))
    assert kind("4.T.5", machine) == "does_not_hold"


def test_a_throttled_figure_marks_the_verdict() -> None:
    machine = as_the_article_says()
    assert not any(verdict.throttled for verdict in judge(machine))
    throttled = replace(about("s", 1e-4), throttled=True)
    machine = having(machine, "resources.create_and_join", "thread", figure=throttled)
    assert claim("2.T.1").judge(machine).throttled


def test_reasons_that_are_said_in_chinese_are_said_somewhere() -> None:
    """A reason that was reworded where it is given would be shown in English again."""
    sources = Path(machine.__file__).parent.rglob("*.py")
    text = "".join(each.read_text() for each in sources if each.name != "vocabulary.py")
    text += Path(repeat.__file__).read_text()
    for why in GAPS.keys() - {DIMENSION_MISSING, FIGURE_MISSING}:
        assert f'"{why}"' in text


def test_what_is_not_so_is_said_as_such() -> None:
    equal = having(as_the_article_says(), "communication.lines", "variable", figure=count(5))
    why = claim("3.P.6").judge(equal).why
    assert "“shared variable: lines of the shortest program” is not clearly less than" in why.en
    assert "并不明显小于" in why.zh


# ---- the page ------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[3].joinpath("docs", "claims.md").read_text(encoding="utf-8")


def test_the_row_on_the_page_is_the_row_that_decides() -> None:
    (block,) = re.findall(r"(?s)```python\n(.*?)```", PAGE)
    imports, _, expression = block.partition("\n\n")
    names: dict[str, object] = {}
    exec(imports, names)
    assert eval(expression.strip(), names) == claim("1.P.4")


def test_the_page_explains_the_words_that_there_are() -> None:
    (table,) = (part for part in PAGE.split("\n\n") if part.startswith("| in a row"))
    words = re.findall(r"`(\w+)`", re.sub(r"(?m)^(\| [^|]+\|).*$", r"\1", table))
    assert words
    for word in [*words, "when", "first", "explained", "row", "figure"]:
        assert callable(getattr(rows, word))
    verdicts = re.findall(r"(?m)^\| (holds|does not hold|depends|explained|not measured) ", PAGE)
    assert [each.replace(" ", "_") for each in verdicts] == list(KINDS)
