"""The story of an exchange as a picture: swim lanes of the parties and the ledger, as SVG.

It needs no other file, font or script. Time runs downwards, a row for each record of the log: a box
in the lane of who acted, an arrow to the ledger, and in the lane of the ledger what it decided.
What is owed stands at the end, dashed, in the lane of who owes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from contracts.exchange.duties import Duty
from contracts.words import decision_word, kind_word
from tools.audit.index.trace import (
    Moment,
    Trace,
    gap_word,
    tell_body,
    tell_outcome,
    tell_refusal,
    tell_status,
    tell_who,
)
from tools.audit.report.charts import text_width
from tools.output import printable, tell_time
from tools.words import language, say

MARGIN, TIME_WIDTH, LANE_WIDTH, GUTTER = 16, 150, 300, 24
LINE_HEIGHT, PADDING, GAP_HEIGHT, HEAD_HEIGHT = 17, 18, 16, 112
BOX_WIDTH = LANE_WIDTH - GUTTER
SMALL = 11
# So many lines has a sentence at most, and a row at least.
LINES_MAX, LINES_MIN = 6, 2
_MARKS = frozenset("，。；：、）”！？")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A box in a lane; `whole` is what its title says to the pointer, with nothing cut off."""

    lane: str
    style: str
    lines: tuple[str, ...]
    whole: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Boxes beside each other, the second one that of the ledger; words at the left edge."""

    edge: tuple[str, ...]
    boxes: tuple[_Box, ...]

    @property
    def height(self) -> int:
        """Of the boxes, which are all as high as the longest text needs."""
        lines = max(LINES_MIN, *(len(box.lines) for box in self.boxes))
        return lines * LINE_HEIGHT + PADDING


def draw_trace(story: Trace) -> str:
    """The picture. A lane for others stands there only if others take part."""
    lanes = _lanes(story)
    rows = [_row_of_moment(story, moment) for moment in story.moments]
    rows += [_row_of_duty(story, duty) for duty in story.duties]
    width = 2 * MARGIN + TIME_WIDTH + LANE_WIDTH * len(lanes)
    height = 2 * MARGIN + HEAD_HEIGHT + sum(row.height + GAP_HEIGHT for row in rows)
    title = say("picture.title", digest=story.digest.hex()[:16], status=tell_status(story))
    asked = story.opening
    about = f"{asked.dataset} · {asked.purpose} · {asked.legal_basis}"
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
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
    top = MARGIN + HEAD_HEIGHT
    for row in rows:
        parts += _draw_row(row, keys, top)
        top += row.height + GAP_HEIGHT
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


def _row_of_moment(story: Trace, moment: Moment) -> _Row:
    event, outcome = moment.event, moment.outcome
    lane = _lane_of(story, event.member)
    who = tell_who(moment)
    sentence = tell_body(event, story.code_names)
    # Whose lane it is, its head says.
    actor = event.member if lane == "others" else who["roles"]
    head = f"{kind_word(event.kind, language())} · {actor}"
    whole = "\n".join((say("trace.moment", **who), sentence, *tell_outcome(moment)))
    contracts = ", ".join(outcome.policies)
    if not outcome.applied:
        style, verdict = "refused", tell_refusal(outcome.code)
    elif outcome.decision:
        style, verdict = outcome.decision, decision_word(outcome.decision, language())
    else:
        style, verdict = "", say("picture.recorded")
    said = "box" if outcome.applied else "box refused"
    acted = _Box(lane=lane, style=said, lines=(*_wrap(head, 1), *_wrap(sentence)), whole=whole)
    decided = _Box(
        lane="ledger",
        style=f"box {style}".strip(),
        lines=(*_wrap(verdict), *_wrap(contracts)),
        whole=whole,
    )
    return _Row(
        edge=(who["time"], say("picture.entry", index=moment.index)), boxes=(acted, decided)
    )


def _row_of_duty(story: Trace, duty: Duty) -> _Row:
    is_overdue = duty.is_overdue(story.time_ms)
    due = say("picture.overdue" if is_overdue else "picture.due", due=tell_time(duty.due_ms))
    owed = f"{duty.member} · {gap_word(duty.gap)}"
    box = _Box(
        lane=_lane_of(story, duty.member),
        style="box overdue" if is_overdue else "box owed",
        lines=(*_wrap(owed), due),
        whole=f"{owed}\n{due}",
    )
    return _Row(edge=(), boxes=(box,))


def _draw_row(row: _Row, keys: list[str], top: int) -> Iterator[str]:
    middle = top + row.height // 2
    for number, words in enumerate(row.edge):
        yield _text(MARGIN, middle + 16 * number, words, "small")
    places = [keys.index(box.lane) for box in row.boxes]
    for box, place in zip(row.boxes, places, strict=True):
        yield from _draw_box(box, _left(place), top, row.height)
    if len(places) > 1:
        actor, ledger = places
        start, end = _left(actor), _left(ledger) + BOX_WIDTH
        if actor < ledger:
            start, end = start + BOX_WIDTH, _left(ledger)
        yield f'<path class="arrow" marker-end="url(#tip)" d="M{start} {middle}H{end}"/>'


def _draw_box(box: _Box, x: int, top: int, height: int) -> Iterator[str]:
    yield (
        f"<g><title>{_safe(box.whole)}</title>"
        f'<rect class="{box.style}" x="{x}" y="{top}" width="{BOX_WIDTH}" height="{height}" '
        'rx="4"/>'
    )
    for number, line in enumerate(box.lines):
        yield _text(x + 8, top + 20 + LINE_HEIGHT * number, line, "small")
    yield "</g>"


def _left(lane: int) -> int:
    return MARGIN + TIME_WIDTH + LANE_WIDTH * lane


def _text(x: int, y: int, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{_safe(words)}</text>'


def _safe(words: str) -> str:
    """Text for XML, which does not allow most control characters even when escaped."""
    return escape(printable(words))


def _wrap(words: str, lines_max: int = LINES_MAX) -> list[str]:
    """Lines that fit into a box, broken at spaces and between Chinese characters.

    A last line that is not the end of the text says so.
    """
    lines: list[str] = []
    room, rest = BOX_WIDTH - 16, words.strip()
    while rest and len(lines) < lines_max:
        end = _fitting(rest, room)
        if len(lines) == lines_max - 1 and end < len(rest):
            end = _fitting(rest, room - text_width("…", SMALL))
            lines.append(rest[:end].rstrip() + "…")
            break
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return lines


def _fitting(words: str, room: int) -> int:
    """How many characters fit into so many pixels, up to the last place for a break if any."""
    end = next(
        (at for at in range(1, len(words)) if text_width(words[: at + 1], SMALL) > room), len(words)
    )
    if end == len(words):
        return end
    breaks = (at for at in range(end, end // 2, -1) if _may_break(words, at))
    return next(breaks, end)


def _may_break(words: str, at: int) -> bool:
    """Whether a line may end before a character: not so that it begins with a mark."""
    if " " in (words[at], words[at - 1]):
        return True
    return "\u3000" < words[at - 1] < "\uff00" and words[at] not in _MARKS
