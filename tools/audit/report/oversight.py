"""Sections of a report about supervision: gaps, incidents, credit, access, controls, method."""

from collections import Counter
from collections.abc import Iterator

from tools.audit.period import format_day, format_moment
from tools.audit.report.charts import SERIES, Bar, Stretch, draw_bars, draw_times
from tools.audit.report.controls import Evidence
from tools.audit.report.findings import Findings, IncidentFound
from tools.audit.report.sections import ROWS_MAX, Block, Picture, Remark, Section, Sheet
from tools.audit.report.speech import NOTHING, Speech

SCORE_MAX = 1_000
GRADES = {"A": SERIES[0], "B": SERIES[1], "C": SERIES[3], "D": SERIES[4]}
DIGITS = 12  # of a digest, for people


def oversight_sections(found: Findings, say: Speech) -> Iterator[Section]:
    """What a supervisor asks for."""
    yield Section("gaps", say("gaps"), tuple(_gaps(found, say)))
    yield Section("incidents", say("incidents"), tuple(_incidents(found, say)))
    yield Section("credit", say("credit"), tuple(_credit(found, say)))
    yield Section("access", say("access"), tuple(_access(found, say)))
    yield Section("governance", say("governance"), tuple(_governance(found, say)))
    yield Section("controls", say("controls"), tuple(_controls(found, say)))
    yield Section("method", say("method"), tuple(_method(found, say)))


def _gaps(found: Findings, say: Speech) -> Iterator[Block]:
    if not found.gaps:
        yield Remark(say("no_gaps", at=format_moment(found.ground.until_ms)))
        return
    kinds = Counter(gap.gap for gap in found.gaps)
    bars = [Bar(say.gap(gap), count, str(count)) for gap, count in sorted(kinds.items())]
    caption = say("gaps_caption", at=format_moment(found.ground.until_ms))
    yield Picture(caption, draw_bars(caption, bars))
    head = (say("gap"), say("owed_by"), say("due"), say("exchange"), say("record"))
    rows = [
        (
            say.gap(gap.gap),
            say.short(gap.member),
            format_moment(gap.due_ms),
            gap.of[:DIGITS],
            NOTHING if gap.index is None else f"#{gap.index}",
        )
        for gap in found.gaps[:ROWS_MAX]
    ]
    yield Sheet(head, rows, numbers=5)
    if len(found.gaps) > ROWS_MAX:
        yield Remark(say("more_gaps", shown=ROWS_MAX, count=len(found.gaps)))


def _incidents(found: Findings, say: Speech) -> Iterator[Block]:
    ground = found.ground
    if found.incidents:
        lines = [
            (f"{say.short(each.member)} · {each.category}", _stretches(each, ground.until_ms))
            for each in found.incidents[:ROWS_MAX]
        ]
        span = (min(ground.since_ms, *(each.reported_ms for each in found.incidents)),
                ground.until_ms)  # fmt: skip
        ends = (format_day(span[0]), format_day(span[1]))
        svg = draw_times(say("incidents"), ends, span, lines)
        yield Picture(say("incidents_caption"), svg)
        head = (
            say("member"), say("category"), say("severity"), say("status"), say("notified"),
            say("reported"), say("remedied"), say("closed"),
        )  # fmt: skip
        rows = [
            (
                say.short(each.member), each.category, say(f"severity_{each.severity}"),
                say(f"incident_{each.status}"), f"{each.notified}/{each.partners}",
                *(_moment(at) for at in (each.reported_ms, each.remedied_ms, each.closed_ms)),
            )
            for each in found.incidents[:ROWS_MAX]
        ]  # fmt: skip
        yield Sheet(head, rows, numbers=8)
    else:
        yield Remark(say("no_incidents"))
    if found.drills:
        columns = (say("drill"), say("member"), say("result"), say("time"), say("record"))
        drills = [
            (
                each.category, say.short(each.member), say(f"drill_{each.result}"),
                format_moment(each.time_ms), f"#{each.index}",
            )
            for each in found.drills[:ROWS_MAX]
        ]  # fmt: skip
        yield Sheet(columns, drills, numbers=5)
    else:
        yield Remark(say("no_drills"))


def _stretches(each: IncidentFound, until_ms: int) -> list[Stretch]:
    """Until the remedy, then until the closing."""
    end_ms = each.closed_ms or until_ms
    remedied_ms = each.remedied_ms or end_ms
    found = [Stretch(each.reported_ms, remedied_ms, SERIES[4])]
    return [*found, Stretch(remedied_ms, end_ms, SERIES[2])] if each.remedied_ms else found


def _moment(time_ms: int) -> str:
    return format_moment(time_ms) if time_ms else NOTHING


def _credit(found: Findings, say: Speech) -> Iterator[Block]:
    bars = [
        Bar(say.short(each.member), each.score, f"{each.grade} · {each.score}", GRADES[each.grade])
        for each in found.grades
    ]
    caption = say("credit_caption", at=format_moment(found.ground.until_ms))
    yield Picture(caption, draw_bars(caption, bars, maximum=SCORE_MAX))
    if not found.grade_changes:
        yield Remark(say("no_grade_changes"))
        return
    head = (say("member"), say("grade_change"), say("score"), say("because"), say("time"))
    rows = [
        (
            say.short(each.member), f"{each.before} → {each.after}", str(each.score),
            say(f"because_{each.reason}"), format_moment(each.time_ms),
        )
        for each in found.grade_changes[:ROWS_MAX]
    ]  # fmt: skip
    yield Sheet(head, rows, numbers=5)


def _access(found: Findings, say: Speech) -> Iterator[Block]:
    yield Remark(say("access_note"))
    if not found.access:
        yield Remark(say("no_nodes"))
        return
    head = (say("node"), say("anchors"), say("lines"), say("anchored_until"))
    rows = [
        (say.name(each.member), str(each.anchors), str(each.lines), _moment(each.until_ms))
        for each in found.access
    ]
    yield Sheet(head, rows)


def _governance(found: Findings, say: Speech) -> Iterator[Block]:
    if not found.actions:
        yield Remark(say("no_governance"))
        return
    rows = [(say.action(tag), str(count)) for tag, count in found.actions.items()]
    yield Sheet((say("proposed"), say("count")), rows)


def _controls(found: Findings, say: Speech) -> Iterator[Block]:
    yield Remark(say("controls_note"))
    head = (say("control"), say("requirement"), say("verdict"), say("evidence"), say("exceptions"))
    rows = [
        (
            say(f"control_{control.id.replace('-', '_')}"),
            control.requirement,
            say(f"verdict_{control.verdict}"),
            _evidence(control.evidence),
            _evidence(control.exceptions),
        )
        for control in found.controls
    ]
    yield Sheet(head, rows, numbers=5)


def _evidence(evidence: Evidence) -> str:
    if not evidence.count:
        return "0"
    samples = ", ".join(f"#{index}" for index in evidence.samples)
    more = "…" if evidence.count > len(evidence.samples) > 0 else ""
    return f"{evidence.count}: {samples}{more}" if samples else str(evidence.count)


def _method(found: Findings, say: Speech) -> Iterator[Block]:
    ground = found.ground
    if ground.begins is None:
        yield Remark(say("method_note"))
    else:
        begins = ground.begins
        yield Remark(say("method_begins", height=begins.height, entries=begins.entries))
    yield Remark(say(f"signatures_{ground.signatures}"))
    yield Sheet(
        (say("figure"), say("value")),
        (
            (say("network"), ground.network),
            (say("checkpoint"), say("entries", count=ground.size)),
            (say("root"), ground.root),
            (say("cosigners"), ", ".join(ground.cosigners)),
            (say("looked_at"), say("up_to", entries=ground.entries, height=ground.height)),
            (say("state_digest"), ground.state_digest),
        ),
        numbers=2,
    )
    yield Remark(say("method_check"))
