"""The story of an exchange as a picture: swim lanes of the parties and the ledger, as SVG.

It needs no other file, font or script. Time runs downwards, a row for each record of the log: a box
in the lane of who acted, an arrow to the ledger, and in the lane of the ledger what it decided.
What is owed stands at the end, dashed, in the lane of who owes it.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from contracts.exchange.duties import Duty
from contracts.words import decision_word, kind_word
from tools.audit.index.trace import (
    Moment,
    Trace,
    gap_word,
    tell_body,
    tell_outcome,
    tell_status,
    tell_who,
)
from tools.output import printable, tell_time
from tools.words import language, say

MARGIN, TIME_WIDTH, LANE_WIDTH, GUTTER = 16, 150, 300, 24
BOX_HEIGHT, ROW_HEIGHT, HEAD_HEIGHT = 52, 68, 112
BOX_WIDTH = LANE_WIDTH - GUTTER
# Cells of the small letters that fit into a box; a Chinese character takes two.
CELLS = 40
_STYLE = (
    "text{font:13px system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;fill:#1b2733}"
    ".title{font-size:16px;font-weight:600}.small{font-size:11px}.lane{font-weight:600}"
    ".box{stroke:#5b7083;fill:#f1f6fa}.permit{fill:#e3f4e6;stroke:#2f7d3b}"
    ".review{fill:#fdf3d8;stroke:#9a6b00}.deny,.refused,.overdue{fill:#fde7e4;stroke:#b3261e}"
    ".owed,.overdue{stroke-dasharray:5 4}.line{stroke:#c9d1d8}.arrow{stroke:#5b7083;fill:none}"
)

_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#5b7083"/></marker></defs>'
)


def draw_trace(story: Trace) -> str:
    """The picture. A lane for others stands there only if others take part."""
    lanes = _lanes(story)
    rows = len(story.moments) + len(story.duties)
    width = 2 * MARGIN + TIME_WIDTH + LANE_WIDTH * len(lanes)
    height = 2 * MARGIN + HEAD_HEIGHT + ROW_HEIGHT * rows
    title = say("picture.title", digest=story.digest.hex()[:16], status=tell_status(story))
    asked = story.opening
    about = f"{asked.dataset} · {asked.purpose} · {asked.legal_basis}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">',
        f"<title>{_safe(title)}</title><style>{_STYLE}</style>",
        _TIP,
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(MARGIN, MARGIN + 16, title, "title"),
        _text(MARGIN, MARGIN + 36, about, "small"),
        _text(MARGIN, MARGIN + 54, say("picture.legend", time=tell_time(story.time_ms)), "small"),
    ]
    for at, (_, name) in enumerate(lanes):
        middle = _left(at) + BOX_WIDTH // 2
        parts.append(_text(_left(at), MARGIN + HEAD_HEIGHT - 14, name, "lane"))
        top, end = MARGIN + HEAD_HEIGHT - 6, height - MARGIN
        parts.append(f'<path class="line" d="M{middle} {top}V{end}"/>')
    keys = [key for key, _ in lanes]
    for row, moment in enumerate(story.moments):
        parts += _draw_moment(story, keys, moment, _top(row))
    for row, duty in enumerate(story.duties, start=len(story.moments)):
        parts += _draw_duty(story, keys, duty, _top(row))
    return "\n".join([*parts, "</svg>", ""])


def _lanes(story: Trace) -> list[tuple[str, str]]:
    """Key and head of each lane, from the left."""
    lanes = [
        ("requester", say("picture.requester", member=story.requester)),
        ("ledger", say("picture.ledger")),
        ("provider", say("picture.provider", member=story.provider)),
    ]
    actors = [moment.event.member for moment in story.moments]
    actors += [duty.member for duty in story.duties]
    if any(_lane_of(story, member) == "others" for member in actors):
        lanes.append(("others", say("picture.others")))
    return lanes


def _lane_of(story: Trace, member: str) -> str:
    if member == story.requester:
        return "requester"
    return "provider" if member == story.provider else "others"


def _draw_moment(story: Trace, keys: list[str], moment: Moment, top: int) -> Iterator[str]:
    event, outcome = moment.event, moment.outcome
    at, ledger = keys.index(_lane_of(story, event.member)), keys.index("ledger")
    who = tell_who(moment)
    middle = top + BOX_HEIGHT // 2
    yield _text(MARGIN, middle, who["time"], "small")
    yield _text(MARGIN, middle + 16, say("picture.entry", index=moment.index), "small")
    sentence = tell_body(event)
    # Whose lane it is, its head says.
    actor = event.member if keys[at] == "others" else who["roles"]
    head = f"{kind_word(event.kind, language())} · {actor}"
    whole = "\n".join((say("trace.moment", **who), sentence, *tell_outcome(moment)))
    yield from _box(at, top, "box" if outcome.applied else "box refused", (head, sentence), whole)
    start, end = _left(at), _left(ledger) + BOX_WIDTH
    if at < ledger:
        start, end = start + BOX_WIDTH, _left(ledger)
    yield f'<path class="arrow" marker-end="url(#tip)" d="M{start} {middle}H{end}"/>'
    contracts = ", ".join(outcome.policies)
    if not outcome.applied:
        style, verdict = "refused", say("trace.refused", code=outcome.code)
    elif outcome.decision:
        style, verdict = outcome.decision, decision_word(outcome.decision, language())
    else:
        style, verdict = "", say("picture.recorded")
    yield from _box(ledger, top, f"box {style}".strip(), (verdict, contracts), whole)


def _draw_duty(story: Trace, keys: list[str], duty: Duty, top: int) -> Iterator[str]:
    is_overdue = duty.is_overdue(story.time_ms)
    due = say("picture.overdue" if is_overdue else "picture.due", due=tell_time(duty.due_ms))
    style = "box overdue" if is_overdue else "box owed"
    at = keys.index(_lane_of(story, duty.member))
    lines = (f"{duty.member} · {gap_word(duty.gap)}", due)
    yield from _box(at, top, style, lines, "\n".join(lines))


def _box(lane: int, top: int, style: str, lines: Sequence[str], whole: str) -> Iterator[str]:
    """A box with two lines; what is cut off stands in its title for the pointer."""
    x = _left(lane)
    yield (
        f"<g><title>{_safe(whole)}</title>"
        f'<rect class="{style}" x="{x}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        'rx="4"/>'
    )
    for number, line in enumerate(lines):
        yield _text(x + 8, top + 20 + 19 * number, _cut(line), "small")
    yield "</g>"


def _left(lane: int) -> int:
    return MARGIN + TIME_WIDTH + LANE_WIDTH * lane


def _top(row: int) -> int:
    return MARGIN + HEAD_HEIGHT + ROW_HEIGHT * row


def _text(x: int, y: int, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{_safe(words)}</text>'


def _safe(words: str) -> str:
    """Text for XML, which does not allow most control characters even when escaped."""
    return escape(printable(words))


def _cut(words: str) -> str:
    cells = 0
    for at, char in enumerate(words):
        cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if cells > CELLS:
            return words[: at - 1] + "…"
    return words
