"""Sections of a report about the exchanges: summary, evaluation, flows, decisions, times, quality.

A section is a heading and blocks in order: pictures, tables and remarks. All are made for one
language; what they show is the same in each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ledger.exchange.risk import RISK_MAX
from tools.audit.report.charts import (
    CONTRAST,
    MARKS,
    Bar,
    draw_bars,
    draw_classes,
    draw_flows,
    draw_matrix,
    draw_stacks,
)
from tools.audit.report.findings import Findings, ranked
from tools.audit.report.measures import (
    CLASSES_MS,
    SPANS,
    STARS,
    Measures,
    distribute,
    mean_hundredths,
    share_per_mille,
)
from tools.audit.report.speech import Speech

ROWS_MAX = 40
VERDICTS = ("permit", "review", "deny")


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG with its caption."""

    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table; columns from `numbers` on are numbers and stand at the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence."""

    text: str


Block: TypeAlias = Picture | Sheet | Remark


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; `id` is the same in each language."""

    id: str
    title: str
    blocks: Sequence[Block]


def exchange_sections(found: Findings, say: Speech) -> Iterator[Section]:
    """Summary and evaluation, then what they come from."""
    yield Section("summary", say("summary"), tuple(_summary(found, say)))
    yield Section("evaluation", say("evaluation"), tuple(_evaluation(found, say)))
    yield Section("flows", say("flows"), tuple(_flows(found, say)))
    yield Section("reciprocity", say("reciprocity"), tuple(_reciprocity(found, say)))
    yield Section("decisions", say("decisions"), tuple(_decisions(found, say)))
    yield Section("risk", say("risk"), tuple(_risk(found, say)))
    yield Section("times", say("times"), tuple(_times(found, say)))
    yield Section("timeliness", say("timeliness"), tuple(_timeliness(found, say)))
    yield Section("quality", say("quality"), tuple(_quality(found, say)))
    yield Section("satisfaction", say("satisfaction"), tuple(_satisfaction(found, say)))


def opened(measures: Measures) -> int:
    """Exchanges that were asked for or offered."""
    return measures.counts["requested"] + measures.counts["offered"]


def answered(measures: Measures) -> int:
    """First deliveries, in time or late."""
    return measures.counts["in_time"] + measures.counts["late"]


def _summary(found: Findings, say: Speech) -> Iterator[Block]:
    total, counts = found.total, found.total.counts
    whole = distribute(total.spans["whole"])
    exceptions = sum(control.verdict == "exceptions" for control in found.controls)
    open_incidents = sum(not each.closed_ms for each in found.incidents)
    values = {
        "opened": say.number(opened(total)),
        "permitted_at_once": _part(counts["permit"], opened(total), say),
        "reviewed": _part(counts["review"], opened(total), say),
        "denied": _part(counts["deny"], opened(total), say),
        "first_deliveries": say.number(answered(total)),
        "in_time": _part(counts["in_time"], answered(total), say),
        "median_whole": say.duration(whole.median_ms, whole.count),
        "received": say.number(counts["received"]),
        "rejected": _part(counts["rejected"], counts["delivered"], say),
        "records_received": say.number(counts["records_received"]),
        "mean_quality": say.stars(mean_hundredths(total.quality)),
        "mean_usefulness": say.stars(mean_hundredths(total.usefulness)),
        "overdue_now": say.number(len(found.gaps)),
        "open_incidents": say.number(open_incidents),
        "controls_exceptions": f"{exceptions} / {len(found.controls)}",
    }
    rows = [(say(name), say(f"means_{name}"), value) for name, value in values.items()]
    yield Sheet((say("figure"), say("means"), say("value")), rows, numbers=2)
    first, last = found.days
    yield Remark(say("summary_note", first=first, last=last))


def _part(part: int, whole: int, say: Speech) -> str:
    return f"{say.number(part)} ({say.per_cent(share_per_mille(part, whole))})"


def _evaluation(found: Findings, say: Speech) -> Iterator[Block]:
    yield Remark(say("evaluation_note"))
    pairs = [
        (f"{say.short(asking)} → {say.short(giving)}", measures)
        for (asking, giving), measures in _busiest(found)
    ]
    for column, rows in (("pair", pairs), ("month", list(found.months.items()))):
        total = [(say("all"), found.total)] if len(rows) != 1 else []
        cells = [(name, *_evaluated(measures, say)) for name, measures in (*rows, *total)]
        head = (
            say(column), say("opened"), say("share_in_time"), say("median_delivery"),
            say("median_whole"), say("share_rejected"), say("corrected"), say("disputed"),
            say("mean_quality"), say("mean_usefulness"),
        )  # fmt: skip
        yield Sheet(head, cells)
    if len(found.pairs) > ROWS_MAX:
        yield Remark(say("more_pairs", shown=ROWS_MAX, count=len(found.pairs)))


def _evaluated(measures: Measures, say: Speech) -> tuple[str, ...]:
    """Efficiency, data quality and satisfaction of one row."""
    counts = measures.counts
    delivery, whole = (distribute(measures.spans[name]) for name in ("delivery", "whole"))
    return (
        say.number(opened(measures)),
        say.per_cent(share_per_mille(counts["in_time"], answered(measures))),
        say.duration(delivery.median_ms, delivery.count),
        say.duration(whole.median_ms, whole.count),
        say.per_cent(share_per_mille(counts["rejected"], counts["delivered"])),
        str(counts["corrected"]),
        str(counts["disputed"]),
        say.stars(mean_hundredths(measures.quality)),
        say.stars(mean_hundredths(measures.usefulness)),
    )


def _busiest(found: Findings) -> list[tuple[tuple[str, str], Measures]]:
    """The pairs with the most exchanges, as many as a page shows."""
    by_number = sorted(found.pairs.items(), key=lambda item: (-opened(item[1]), item[0]))
    return by_number[:ROWS_MAX]


def _flows(found: Findings, say: Speech) -> Iterator[Block]:
    if not found.flows:
        yield Remark(say("nothing_received"))
        return
    regions = {region for pair in found.flows for region in pair}
    names = {region: _region(region, found, say) for region in sorted(regions)}
    heads = (say("from_region"), say("to_region"))
    yield Picture(say("flows_caption"), draw_flows(say("flows"), heads, found.flows, names))


def _region(region: str, found: Findings, say: Speech) -> str:
    """A region by its code, with the tax authority of it where there is one."""
    for member in found.members.values():
        if member.region == region and member.kind in ("tax", "foreign"):
            return f"{region} {say.short(member.id)}"
    return region


def _reciprocity(found: Findings, say: Speech) -> Iterator[Block]:
    if not found.pairs:
        yield Remark(say("nothing_opened"))
        return
    weight: dict[str, int] = {}
    for pair, measures in found.pairs.items():
        for member in pair:
            weight[member] = weight.get(member, 0) + opened(measures)
    names = sorted(weight, key=lambda member: (-weight[member], member))
    cells = {
        (say.short(asking), say.short(giving)): (
            answered(measures), f"{answered(measures)}/{opened(measures)}"
        )
        for (asking, giving), measures in found.pairs.items()
    }  # fmt: skip
    svg = draw_matrix(say("reciprocity"), [say.short(name) for name in names], cells)
    yield Picture(say("reciprocity_caption"), svg)
    head = (
        say("pair"), say("asked"), say("offered"), say("turned_down"), say("answered"),
        say("late"), say("records_sent"), say("received"), say("records_received"),
    )  # fmt: skip
    rows = []
    for (asking, giving), measures in _busiest(found):
        counts = measures.counts
        numbers = (
            counts["requested"], counts["offered"], counts["deny"] + counts["refused"],
            answered(measures), counts["late"], counts["records_sent"], counts["received"],
            counts["records_received"],
        )  # fmt: skip
        rows.append((f"{say.short(asking)} → {say.short(giving)}", *map(say.number, numbers)))
    yield Sheet(head, rows)


def _decisions(found: Findings, say: Speech) -> Iterator[Block]:
    stacks = [
        (month, [measures.counts[verdict] for verdict in VERDICTS])
        for month, measures in found.months.items()
    ]
    if stacks:
        legend = [say.decision(verdict) for verdict in VERDICTS]
        svg = draw_stacks(say("decisions"), legend, stacks, CONTRAST)
        yield Picture(say("decisions_caption"), svg)
    counts = found.total.counts
    yield Remark(
        say(
            "reviews",
            approved=counts["approved"],
            refused=counts["refused"],
            withdrawn=counts["withdrawn"],
        )
    )
    if found.contracts:
        bars = [Bar(name, count, str(count)) for name, count in found.contracts.items()]
        caption = say("contracts_caption")
        yield Picture(caption, draw_bars(caption, bars[:ROWS_MAX]))
        titles = [(name, say.contract(name)) for name in list(found.contracts)[:ROWS_MAX]]
        yield Sheet((say("contract"), say("contract_title")), titles, numbers=2)
    if found.not_applied:
        rows = [(say.refusal(code), str(count)) for code, count in found.not_applied.items()]
        yield Sheet((say("not_applied"), say("count")), rows[:ROWS_MAX])


def _risk(found: Findings, say: Speech) -> Iterator[Block]:
    if not any(found.risk.values()):
        yield Remark(say("nothing_asked"))
        return
    ends = (*(least - 1 for least in list(found.risk)[1:]), RISK_MAX)
    stacks = [
        (
            say("risk_band", least=least, most=most) if least < most else say("risk_none"),
            [counts.get(verdict, 0) for verdict in VERDICTS],
        )
        for (least, counts), most in zip(found.risk.items(), ends, strict=True)
    ]
    legend = [say.decision(verdict) for verdict in VERDICTS]
    yield Picture(say("risk_caption"), draw_stacks(say("risk"), legend, stacks, CONTRAST))
    if found.risk_reasons:
        rows = [(say.risk_reason(code), str(count)) for code, count in found.risk_reasons.items()]
        yield Sheet((say("risk_reason"), say("count")), rows)


def _times(found: Findings, say: Speech) -> Iterator[Block]:
    measured = [(name, distribute(found.total.spans[name])) for name in SPANS]
    if not any(each.count for _, each in measured):
        yield Remark(say("nothing_timed"))
        return
    ends = ("≤1h", "≤6h", "≤1d", "≤3d", "≤7d", "≤30d")
    assert len(ends) == len(CLASSES_MS), "every class has its word"
    panels = [(say(f"span_{name}"), each.classes) for name, each in measured]
    svg = draw_classes(say("times"), (*ends, ">30d"), panels)
    yield Picture(say("times_caption"), svg)
    head = (say("span"), say("count"), say("median"), say("p90"), say("longest"))
    rows = [
        (
            say(f"span_{name}"),
            str(each.count),
            *(
                say.duration(value, each.count)
                for value in (each.median_ms, each.p90_ms, each.longest_ms)
            ),
        )
        for name, each in measured
    ]
    yield Sheet(head, rows)


def _timeliness(found: Findings, say: Speech) -> Iterator[Block]:
    of: dict[str, list[int]] = {}
    for (_, giving), measures in found.pairs.items():
        in_time, late = of.setdefault(giving, [0, 0])
        of[giving] = [in_time + measures.counts["in_time"], late + measures.counts["late"]]
    stacks = [(say.short(member), values) for member, values in sorted(of.items()) if sum(values)]
    if not stacks:
        yield Remark(say("nothing_delivered"))
        return
    svg = draw_stacks(say("timeliness"), (say("in_time"), say("late")), stacks, CONTRAST)
    yield Picture(say("timeliness_caption"), svg)


def _quality(found: Findings, say: Speech) -> Iterator[Block]:
    counts = found.total.counts
    yield Remark(
        say(
            "quality_note",
            delivered=say.number(counts["delivered"]),
            rejected=say.number(counts["rejected"]),
            corrected=say.number(counts["corrected"]),
            disputed=say.number(counts["disputed"]),
            sent=say.number(counts["records_sent"]),
            received=say.number(counts["records_received"]),
        )
    )
    if found.total.codes:
        ordered = list(ranked(found.total.codes).items())[:ROWS_MAX]
        named = [(code_set, code, count) for (code_set, code), count in ordered]
        bars = [Bar(say.status_code(*each), count, str(count)) for *each, count in named]
        caption = say("codes_caption")
        yield Picture(caption, draw_bars(caption, bars))
        rows = [
            (code_set, say.status_code(code_set, code), str(count))
            for code_set, code, count in named
        ]
        yield Sheet((say("code_set"), say("status_code"), say("count")), rows, numbers=2)


def _satisfaction(found: Findings, say: Speech) -> Iterator[Block]:
    rated = found.total.quality.total()
    if not rated:
        yield Remark(say("nothing_rated"))
        return
    stacks = [
        (say(name), [ratings[stars] for stars in STARS])
        for name, ratings in (
            ("rated_quality", found.total.quality),
            ("rated_usefulness", found.total.usefulness),
        )
    ]
    svg = draw_stacks(say("satisfaction"), [f"{stars}★" for stars in STARS], stacks, MARKS)
    yield Picture(say("satisfaction_caption", count=rated), svg)
