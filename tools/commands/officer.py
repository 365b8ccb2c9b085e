"""`tally officer`: requests and answers, signed with the officer's key on this machine."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import click
import msgspec
from msgspec import Meta

from contracts.credit.behaviours import REASONS
from contracts.credit.behaviours import TABLE as BEHAVIOURS
from contracts.facts import block_date
from contracts.lifecycle import STATUS_OF_DECISION, STEPS, Step, next_steps, status_after
from contracts.words import Language, kind_word, role_word, status_word
from ledger.codec import Value
from ledger.events import (
    ShareApproved,
    ShareDelivered,
    ShareReceived,
    ShareRefused,
    ShareRejected,
    ShareRequested,
    ShareWithdrawn,
)
from ledger.exchange.bodies import ShareOffered
from ledger.exchange.risk import Risk
from ledger.registry import ChangeReason, Grade
from ledger.scalars import FIELDS_MAX, Date, Identifier, Urgency
from tools.client import Client, VerifiedRecord
from tools.commands.acting import Place, act, describe, document_of, parse_hash, place_options
from tools.commands.exchange import incidents, later, refer, risks, subjects, tasks
from tools.custody.blinds import blind_subjects, encode_blinds
from tools.exits import InvalidAnswer, InvalidInput, InvalidUsage
from tools.mirror import read_genesis
from tools.output import WordGroup, emit, format_table, note, option, run
from tools.words import language, say

SUBJECT_LINES_MAX = 1_000
FILE_BYTES_MAX = 262_144
CHANGE_REASONS = {
    "behaviour": "credit.behaviour",
    "window": "credit.window",
    "rules": "credit.rules_changed",
}
HashHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
TimeMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # to the end of the year 9999

# Fields of a request whose option has another name.
OPTION_NAMES = {
    "provider": "--to",
    "fields": "--field",
    "period_from": "--from",
    "period_to": "--until",
}


class Request(Value, frozen=True, kw_only=True):
    """What `request` asks for, by options or by a JSON file with these fields.

    A line of `config/demo/requests.ndjson` is such a file. `requester` and `subject_count` are
    checked where they are given; notes and the expected decision are for people.
    """

    provider: Identifier
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    fields: Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=FIELDS_MAX)]
    period_from: Date
    period_to: Date
    urgency: Urgency = "normal"
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] = 180
    case: Annotated[str, Meta(max_length=64)] = ""
    requester: str = ""
    subject_count: int | None = None
    note_zh: str = ""
    note_en: str = ""
    expect: Literal["", "permit", "review", "deny"] = ""


@click.group(cls=WordGroup, help="help.officer")
def command() -> None:
    """Group."""


@command.command("request", help="help.officer_request")
@option("--file", type=click.Path(path_type=Path, dir_okay=False), help="option.file")
@option("--to", "provider", help="option.to")
@option("--dataset", help="option.dataset")
@option("--purpose", help="option.purpose")
@option("--legal-basis", help="option.legal_basis")
@option("--field", "fields", multiple=True, help="option.field")
@option("--from", "period_from", help="option.period_from")
@option("--until", "period_to", help="option.period_to")
@option(
    "--subjects",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.subjects",
)
@option(
    "--blinds", type=click.Path(path_type=Path, dir_okay=False), required=True, help="option.blinds"
)
@option(
    "--urgency",
    type=click.Choice(["normal", "urgent", "critical"]),
    help="option.urgency",
)
@option("--retention-days", type=click.IntRange(1, 36_500), help="option.retention")
@option("--case", help="option.case")
@place_options("requester")
def request(
    place: Place, file: Path | None, subjects: Path, blinds: Path, as_json: bool, **values: Any
) -> None:
    """Ask for records. Exit code 4 when the contracts deny."""
    from tools.founding import write_secret

    given = {name: value for name, value in values.items() if value not in (None, ())}
    wanted = _read_request(file, given) if file else _make_request(given)
    if wanted.requester not in ("", place.member):
        raise InvalidInput("request-member", f"{wanted.requester} != {place.member}")
    names = _read_subjects(subjects)
    if wanted.subject_count not in (None, len(names)):
        raise InvalidInput("request-subjects", f"{wanted.subject_count} != {len(names)}")
    blinded = blind_subjects(names)
    body = ShareRequested(
        provider=wanted.provider,
        dataset=wanted.dataset,
        purpose=wanted.purpose,
        legal_basis=wanted.legal_basis,
        fields=wanted.fields,
        period_from=wanted.period_from,
        period_to=wanted.period_to,
        subjects=tuple(each.commitment for each in blinded),
        urgency=wanted.urgency,
        retention_days=wanted.retention_days,
        case=wanted.case,
    )
    # After the pass phrase, so that a wrong one leaves nothing; before the event refers to them.
    act(
        place,
        body,
        as_json,
        prepare=lambda: write_secret(blinds, encode_blinds(blinded)),
    )


@command.command("approve", help="help.officer_approve")
@click.argument("exchange")
@option("--comment", default="", help="option.comment")
@place_options("approver")
def approve(place: Place, exchange: str, comment: str, as_json: bool) -> None:
    """Allow an exchange under review."""
    act(place, ShareApproved(exchange=parse_hash(exchange), comment=comment), as_json)


@command.command("refuse", help="help.officer_refuse")
@click.argument("exchange")
@option("--reason", required=True, help="option.reason")
@option("--text", default="", help="option.comment")
@place_options("approver")
def refuse(place: Place, exchange: str, reason: str, text: str, as_json: bool) -> None:
    """Refuse an exchange under review."""
    known = [each.id for each in REASONS]
    if reason not in known:
        note(say("credit.reason_costs", reasons=", ".join(known)))
    act(place, ShareRefused(exchange=parse_hash(exchange), reason=reason, text=text), as_json)


@command.command("withdraw", help="help.officer_withdraw")
@click.argument("exchange")
@option("--text", default="", help="option.comment")
@place_options("requester")
def withdraw(place: Place, exchange: str, text: str, as_json: bool) -> None:
    """Take a request back."""
    act(place, ShareWithdrawn(exchange=parse_hash(exchange), text=text), as_json)


@command.command("deliver", help="help.officer_deliver")
@click.argument("exchange")
@option("--commitment", required=True, help="option.commitment")
@option("--records", type=click.IntRange(0), required=True, help="option.records")
@option("--quality-digest", required=True, help="option.quality")
@option("--size-bytes", type=click.IntRange(0), required=True, help="option.size")
@option("--schema-version", type=click.IntRange(1), default=1, help="option.schema")
@option("--outbox-until-ms", type=click.IntRange(0), required=True, help="option.outbox")
@place_options("provider")
def deliver(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Record a delivery."""
    body = ShareDelivered(
        exchange=parse_hash(exchange),
        commitment=parse_hash(values["commitment"]),
        record_count=values["records"],
        schema_version=values["schema_version"],
        quality_digest=parse_hash(values["quality_digest"]),
        size_bytes=values["size_bytes"],
        outbox_until_ms=values["outbox_until_ms"],
    )
    act(place, body, as_json)


@command.command("receive", help="help.officer_receive")
@click.argument("exchange")
@option("--commitment", required=True, help="option.commitment")
@option("--records", type=click.IntRange(0), required=True, help="option.records")
@place_options("requester")
def receive(place: Place, exchange: str, commitment: str, records: int, as_json: bool) -> None:
    """Record that a delivery was opened and validated."""
    body = ShareReceived(
        exchange=parse_hash(exchange), commitment=parse_hash(commitment), record_count=records
    )
    act(place, body, as_json)


@command.command("reject", help="help.officer_reject")
@click.argument("exchange")
@option("--commitment", required=True, help="option.commitment")
@option("--code-set", default="tallystick-1", show_default=True, help="option.code_set")
@option("--code", "codes", type=int, multiple=True, required=True, help="option.code")
@option("--text", default="", help="option.comment")
@place_options("requester")
def reject(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Reject a delivery with status codes."""
    body = ShareRejected(
        exchange=parse_hash(exchange),
        commitment=parse_hash(values["commitment"]),
        code_set=values["code_set"],
        codes=tuple(values["codes"]),
        text=values["text"],
    )
    act(place, body, as_json)


@command.command("status", help="help.officer_status")
@click.argument("exchange")
@place_options(None)
def status(place: Place, exchange: str, as_json: bool) -> None:
    """Show an exchange: every record of it, verified."""

    async def fetch() -> tuple[list[VerifiedRecord], Risk]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            records = await client.fetch_exchange(parse_hash(exchange))
            return records, await risks.fetch_risk(client, exchange)

    records, risk = run(fetch())
    head = [say(f"column.{name}") for name in ("index", "kind", "member", "outcome", "contracts")]
    rows = [
        [
            str(record.index),
            record.event.kind,
            record.event.member,
            describe(record.outcome),
            ", ".join(record.outcome.policies),
        ]
        for record in records
    ]
    state = _state_after(records)
    done = [record.event.kind for record in records if record.outcome.applied]
    steps = next_steps(state, done)
    document = {
        "exchange": exchange,
        "state": state,
        "next": [step.kind for step in steps],
        "risk": {"verified": False, **risks.document_of(risk)},
        "records": [document_of(record) for record in records],
    }
    parts = (format_table(head, rows), *risks.describe_risk(risk), _outlook(state, steps))
    emit(as_json, document, "\n".join(parts))


def _state_after(records: list[VerifiedRecord]) -> str:
    """State of an exchange after its records, the first of which is the request."""
    state = ""
    for record in records:
        outcome = record.outcome
        if outcome.decision:
            state = STATUS_OF_DECISION[outcome.decision]
        elif outcome.applied:
            is_requester = record.event.member == _requester_of(records)
            step = STEPS[record.event.kind]
            state = status_after(step, state, is_requester=is_requester)
    return state


def _requester_of(records: list[VerifiedRecord]) -> str:
    opening = records[0].event
    return opening.body.recipient if isinstance(opening.body, ShareOffered) else opening.member


def _outlook(state: str, steps: tuple[Step, ...]) -> str:
    """The state in words, and what may come next by whom."""
    if not state:
        return ""
    lang: Language = "zh" if language() == "zh" else "en"
    lines = [say("officer.state", state=status_word(state, lang))]
    lines += [
        say(
            "officer.next",
            kind=kind_word(step.kind, lang),
            role=" / ".join(role_word(actor.role, lang) for actor in step.actors),
        )
        for step in steps
    ]
    return "\n".join(lines)


class _Cause(msgspec.Struct, frozen=True, kw_only=True):
    event: HashHex
    behaviour: Identifier
    points: int
    height: int


class _Contribution(msgspec.Struct, frozen=True, kw_only=True):
    behaviour: Identifier
    amount: int
    points: int
    limit: int


class _Change(msgspec.Struct, frozen=True, kw_only=True):
    before: Grade
    after: Grade
    score_before: int
    score_after: int
    reason: ChangeReason
    height: int
    causes: list[_Cause]


class _Credit(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of the credit of a member; unproven."""

    member: Identifier
    score: int
    grade: Grade
    recorded_grade: Grade
    start: int
    minimum: int
    maximum: int
    grade_a: int
    grade_b: int
    grade_c: int
    rules_version: int
    time_ms: TimeMs
    window_from_ms: TimeMs
    contributions: list[_Contribution]
    causes: list[_Cause]
    changes_total: int
    changes: list[_Change]


@command.command("credit", help="help.officer_credit")
@click.argument("agency", metavar="MEMBER")
@place_options(None)
def credit(place: Place, agency: str, as_json: bool) -> None:
    """Explain the credit of a member, as the node computes it; a replay computes it afresh."""

    async def fetch() -> dict[str, Any]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.get_json(f"/v1/members/{quote(agency, safe='')}/credit")

    document = run(fetch())
    try:
        found = msgspec.convert(document, _Credit)
    except msgspec.ValidationError as error:
        raise InvalidAnswer("answer-malformed", str(error)) from None
    if found.member != agency:
        raise InvalidAnswer("answer-mismatch", f"{found.member} != {agency}")
    emit(as_json, {"verified": False, **document}, _explain_credit(found))


def _explain_credit(found: _Credit) -> str:
    """Score and grade in words, what they are made of, and every change with its causes."""
    since, until = (block_date(at).isoformat() for at in (found.window_from_ms, found.time_ms))
    facts = {**msgspec.structs.asdict(found), "since": since, "until": until}
    lines = [say("credit.standing", **facts), say("credit.rules", **facts)]
    if found.recorded_grade != found.grade:
        lines.append(say("credit.waiting", **facts))
    if found.contributions:
        head = [say(f"column.{name}") for name in ("behaviour", "times", "points", "points_max")]
        rows = [
            [_behaviour_word(each.behaviour), str(each.amount), f"{each.points:+}", str(each.limit)]
            for each in found.contributions
        ]
        lines += ["", format_table(head, rows)]
    if found.causes:
        lines += ["", say("credit.causes"), _format_causes(found.causes)]
    if found.changes:
        lines += ["", say("credit.changes", count=found.changes_total)]
    for change in found.changes:
        why = say(CHANGE_REASONS[change.reason])
        lines.append(say("credit.change", **{**msgspec.structs.asdict(change), "why": why}))
        if change.causes:
            lines.append(_format_causes(change.causes))
    return "\n".join(lines)


def _format_causes(causes: list[_Cause]) -> str:
    head = [say(f"column.{name}") for name in ("height", "points", "behaviour", "event")]
    rows = [
        [f"  {each.height}", f"{each.points:+}", _behaviour_word(each.behaviour), each.event]
        for each in causes
    ]
    return format_table(["  " + head[0], *head[1:]], rows)


def _behaviour_word(behaviour: str) -> str:
    """A behaviour in words; one of a newer node than this program stays as it is."""
    row = next((row for row in BEHAVIOURS if row.id == behaviour), None)
    if row is None:
        return behaviour
    return row.zh if language() == "zh" else row.en


@command.command("watch", help="help.officer_watch")
@option("--since", type=click.IntRange(0), help="option.since")
@place_options(None)
def watch(place: Place, since: int | None, as_json: bool) -> None:
    """Show records as they become final, until Ctrl-C; with --json one object a line."""

    async def follow() -> None:
        query = f"?member={place.member}" if place.member else ""
        async with Client(place.url, read_genesis(place.genesis)) as client:
            async for index in client.watch_indexes(f"/v1/stream{query}", after_height=since):
                _show_line(await client.fetch_record(index), as_json)

    try:
        run(follow())
    except KeyboardInterrupt:
        return


def _show_line(record: VerifiedRecord, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(document_of(record)))
    else:
        click.echo(
            f"{record.index:>8}  {record.event.kind:<16} {record.event.member:<18}"
            f" {describe(record.outcome)}  {', '.join(record.outcome.policies)}"
        )


def _read_request(path: Path, given: dict[str, Any]) -> Request:
    """The request in a file, which stands alone: no option may say a part of it."""
    if given:
        raise InvalidUsage("request-options", ", ".join(map(_option_name, given)))
    data = _read_file(path)
    try:
        return msgspec.json.decode(data, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("request-invalid", f"{path}: {error}") from None


def _make_request(given: dict[str, Any]) -> Request:
    """The request that the options describe."""
    fields = msgspec.structs.fields(Request)
    missing = [field.name for field in fields if field.required and field.name not in given]
    if missing:
        raise InvalidUsage("request-incomplete", ", ".join(map(_option_name, missing)))
    try:
        return msgspec.convert(given, Request)
    except msgspec.ValidationError as error:
        raise InvalidInput("event-body-invalid", str(error)) from None


def _option_name(name: str) -> str:
    return OPTION_NAMES.get(name, "--" + name.replace("_", "-"))


def _read_subjects(path: Path) -> list[str]:
    """Different identifiers, one a line."""
    try:
        text = _read_file(path).decode()
    except UnicodeDecodeError:
        raise InvalidInput("subjects-invalid", f"{path}: UTF-8") from None
    names = [line.strip() for line in text.split("\n") if line.strip()]
    if not 1 <= len(names) <= SUBJECT_LINES_MAX or len(set(names)) != len(names):
        raise InvalidInput("subjects-invalid", str(path))
    return names


def _read_file(path: Path) -> bytes:
    from tools.founding import read_file

    return read_file(path, size_bytes_max=FILE_BYTES_MAX)


for each in (
    *later.COMMANDS,
    *refer.COMMANDS,
    *incidents.COMMANDS,
    *subjects.COMMANDS,
    *tasks.COMMANDS,
):
    command.add_command(each)
