"""The whole story of one exchange: every event with who, in which role and when, and what is owed.

The events are read from the copy, each proven to be under the checkpoint; state and duties are
those after the last block that the index covers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.exchange.duties import GAPS, Duty, exchange_duties
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.lifecycle import next_steps
from contracts.lookup import find_exchange
from contracts.words import decision_word, describe, kind_word, role_word, status_word
from ledger.blocks import RECORDS, Outcome
from ledger.errors import Divergence
from ledger.events import Event, ShareOpening, ShareRejected, parse_event
from ledger.exchange.matters import EMPTY_MATTERS, Matters
from ledger.keys import fingerprint
from ledger.registry import Exchange
from tools.audit.codes import Names, find_code_names
from tools.audit.divergence import diverged
from tools.audit.index.build import parties_of
from tools.audit.index.entries import Entries
from tools.audit.index.tables import Index
from tools.output import printable, tell_time
from tools.words import language, say

DIGITS_SHOWN = 12
FIELDS_SHOWN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One record of the story. `roles` are those of the officer at that height."""

    index: int
    height: int
    time_ms: int
    event: Event
    outcome: Outcome
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """An exchange from its opening on; `exchange` is None if the opening was refused.

    `time_ms` is that of the last block: by it duties are overdue or not.
    """

    digest: bytes
    requester: str
    provider: str
    moments: tuple[Moment, ...]
    exchange: Exchange | None
    matters: Matters
    duties: tuple[Duty, ...]
    code_names: Names
    time_ms: int

    @property
    def opening(self) -> ShareOpening:
        """What was asked for or offered."""
        body = self.moments[0].event.body
        assert isinstance(body, ShareOpening), "the index begins an exchange with its opening"
        return body


def trace(index: Index, digest: bytes) -> Trace:
    """The story of an exchange that the index knows. Raises `InvalidAnswer` for a changed copy."""
    asked = """
        SELECT e.idx FROM event e JOIN exchange x ON x.id = e.exchange WHERE x.digest = ?
        UNION SELECT idx FROM incident WHERE exchange = ? ORDER BY 1
    """
    entries = Entries(index.copy)
    try:
        moments = tuple(
            _read_moment(index, entries, idx)
            for (idx,) in index.db.execute(asked, (digest, digest))
        )
    except Divergence as error:
        raise diverged(error) from None
    requester, provider = parties_of(moments[0].event)
    exchange = find_exchange(index.state, digest)
    matters: Matters = EMPTY_MATTERS
    duties: tuple[Duty, ...] = ()
    if exchange is not None:
        matters = read_matters(index.state, digest, exchange)
        duties = exchange_duties(exchange, matters, read_deadlines(index.state))
    return Trace(
        digest=digest,
        requester=requester,
        provider=provider,
        moments=moments,
        exchange=exchange,
        matters=matters,
        duties=duties,
        code_names=find_code_names(index.state, _codes_of(moments)),
        time_ms=index.covered.time_ms,
    )


def _codes_of(moments: Iterable[Moment]) -> Iterator[tuple[str, str]]:
    """Code set and code of every rejection."""
    for moment in moments:
        body = moment.event.body
        if isinstance(body, ShareRejected):
            yield from ((body.code_set, str(code)) for code in body.codes)


def _read_moment(index: Index, entries: Entries, idx: int) -> Moment:
    asked = """
        SELECT r.height, b.time_ms, w.text FROM record r JOIN block b ON b.height = r.height
        JOIN word w ON w.id = r.roles WHERE r.idx = ?
    """
    height, time_ms, roles = index.db.execute(asked, (idx,)).fetchone()
    record = RECORDS.decode(entries.read(idx))
    return Moment(
        index=idx,
        height=height,
        time_ms=time_ms,
        event=parse_event(record.event),
        outcome=record.outcome,
        roles=tuple(filter(None, roles.split(","))),
    )


# In words.


def tell_story(story: Trace) -> str:
    """The story as text."""
    return printable("\n".join(_lines(story)))


def _lines(story: Trace) -> Iterator[str]:
    asked = story.opening
    yield say(
        "trace.head",
        digest=story.digest.hex(),
        requester=story.requester,
        provider=story.provider,
        dataset=asked.dataset,
        purpose=asked.purpose,
        legal_basis=asked.legal_basis,
        status=tell_status(story),
    )
    for moment in story.moments:
        yield ""
        yield say("trace.moment", **tell_who(moment))
        yield f"  {tell_body(moment.event, story.code_names)}"
        yield from (f"  {line}" for line in tell_outcome(moment))
    yield ""
    yield from _holders(story)
    yield from (tell_duty(duty, story.time_ms) for duty in story.duties)
    if story.exchange is not None:
        done = [each.event.kind for each in story.moments if each.outcome.applied]
        kinds = [kind_word(step.kind, language()) for step in
                 next_steps(story.exchange.status, done)]  # fmt: skip
        yield say("trace.next", kinds=say("word.list").join(kinds) or say("trace.none"))


def tell_status(story: Trace) -> str:
    """The state of the exchange."""
    if story.exchange is None:
        return say("trace.not_opened")
    return status_word(story.exchange.status, language())


def tell_who(moment: Moment) -> dict[str, str]:
    """Who did it, in which role, and when."""
    roles = say("word.list").join(role_word(role, language()) for role in moment.roles)
    return {
        "time": tell_time(moment.time_ms),
        "index": str(moment.index),
        "kind": kind_word(moment.event.kind, language()),
        "member": moment.event.member,
        "roles": roles or say("standing.unknown"),
        "officer": fingerprint(moment.event.officer),
    }


def tell_body(event: Event, code_names: Names) -> str:
    """What was said, in a sentence."""
    fields = {name: _shown(getattr(event.body, name)) for name in event.body.__struct_fields__}
    if "case" in fields:
        fields["case"] = f"“{fields['case']}”" if fields["case"] else say("trace.none")
    if isinstance(event.body, ShareRejected):
        fields["codes"] = ", ".join(_name_codes(event.body, code_names))
    subjects: Any = getattr(event.body, "subjects", ())
    references: Any = getattr(event.body, "references", ())
    sentence = say(
        f"trace.{event.kind.replace('.', '_')}",
        **{**fields, "subjects": len(subjects), "references": len(references)},
    )
    if getattr(event.body, "consent", b"") and event.kind == "share.used":
        sentence += say("trace.by_consent", consent=fields["consent"])
    text = getattr(event.body, "text", "") or getattr(event.body, "comment", "")
    return sentence + (say("trace.text", text=text.replace("\n", " ")) if text else "")


def _name_codes(body: ShareRejected, code_names: Names) -> Iterator[str]:
    for code in body.codes[:FIELDS_SHOWN]:
        names = code_names.get((body.code_set, str(code)), ("", ""))
        yield f"{code} {names[0 if language() == 'zh' else 1]}".strip()


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()[:DIGITS_SHOWN]
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value[:FIELDS_SHOWN]))
    return str(value)


def tell_refusal(code: str) -> str:
    """That an event took no effect, and why."""
    return say("trace.refused", code=code, title=describe(code, language()).title)


def tell_outcome(moment: Moment) -> Iterator[str]:
    """What became of it: refused with which code, decided by which contracts with which duties."""
    outcome = moment.outcome
    if not outcome.applied:
        yield tell_refusal(outcome.code)
    if outcome.decision:
        decision = decision_word(outcome.decision, language())
        yield say("trace.decided", decision=decision, contracts=", ".join(outcome.policies) or "-")
    elif outcome.policies:
        yield say("trace.allowed", contracts=", ".join(outcome.policies))
    duties = outcome.obligations
    if duties is not None:
        yield say(
            "trace.obligations",
            hours=duties.deadline_hours,
            days=duties.retention_days,
            redact=", ".join(duties.redact) or say("trace.none"),
        )


def _holders(story: Trace) -> Iterator[str]:
    for each in story.matters.holders:
        key = "trace.destroyed_copy" if each.destroyed_ms else "trace.holds"
        yield say(
            key,
            member=each.holder,
            commitment=each.commitment.hex()[:DIGITS_SHOWN],
            since=tell_time(each.since_ms),
            until=tell_time(each.until_ms),
            destroyed=tell_time(each.destroyed_ms),
            uses=each.uses,
        )


def tell_duty(duty: Duty, time_ms: int) -> str:
    """What is owed, by whom and until when."""
    key = "trace.overdue" if duty.is_overdue(time_ms) else "trace.owed"
    return say(key, member=duty.member, gap=gap_word(duty.gap), due=tell_time(duty.due_ms))


def gap_word(gap: str) -> str:
    """A gap in words."""
    return GAPS[gap].zh if language() == "zh" else GAPS[gap].en


def trace_document(story: Trace) -> dict[str, Any]:
    """The story for programs. Bytes are hex digits."""
    return {
        "exchange": story.digest.hex(),
        "requester": story.requester,
        "provider": story.provider,
        "status": "" if story.exchange is None else story.exchange.status,
        "events": [_moment_document(moment) for moment in story.moments],
        "state": _plain(story.exchange),
        "matters": _plain(story.matters),
        "duties": [
            {
                "member": duty.member,
                "gap": duty.gap,
                "due_ms": duty.due_ms,
                "is_overdue": duty.is_overdue(story.time_ms),
            }
            for duty in story.duties
        ],
    }


def _moment_document(moment: Moment) -> dict[str, Any]:
    event = moment.event
    return {
        "index": moment.index,
        "height": moment.height,
        "time_ms": moment.time_ms,
        "event": event.digest.hex(),
        "kind": event.kind,
        "member": event.member,
        "officer": fingerprint(event.officer),
        "roles": list(moment.roles),
        "body": _plain(event.body),
        "outcome": _plain(moment.outcome),
    }


def _plain(value: Any) -> Any:
    """JSON values with bytes in hex."""
    built = msgspec.to_builtins(value, builtin_types=(bytes,))
    return _hexed(built)


def _hexed(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _hexed(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hexed(each) for each in value]
    return value
