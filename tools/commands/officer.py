"""`tally officer`: requests and answers, signed with the officer's key on this machine."""

import base64
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import click
import msgspec
from msgspec import Meta

from contracts.credit.behaviours import REASONS
from contracts.credit.behaviours import TABLE as BEHAVIOURS
from contracts.facts import block_date
from contracts.lifecycle import STATUS_OF_DECISION, STEPS, Step, next_steps, status_after
from contracts.words import Language, kind_word, role_word, status_word
from ledger.events import (
    Event,
    ShareApproved,
    ShareDelivered,
    ShareReceived,
    ShareRefused,
    ShareRejected,
    ShareRequested,
    ShareWithdrawn,
)
from ledger.exchange.bodies import ShareOffered
from ledger.registry import ChangeReason, Grade
from ledger.scalars import Identifier
from tools.client import Client, VerifiedRecord
from tools.commands.acting import Place, act, describe, document_of, parse_hash, place_options
from tools.commands.exchange import incidents, later, refer, risks, standing, subjects, tasks
from tools.commands.exchange.asking import FILE, Request, check_requester, request_options
from tools.custody.blinds import Blinded, blind_subjects, encode_blinds
from tools.exits import InvalidAnswer, InvalidUsage
from tools.gateway.socket import GatewaySocket
from tools.mirror import read_genesis
from tools.options import WordGroup, option
from tools.output import emit, format_table, note, run
from tools.words import language, say

CHANGE_REASONS = {
    "behaviour": "credit.behaviour",
    "window": "credit.window",
    "rules": "credit.rules_changed",
}
HashHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
TimeMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # to the end of the year 9999


@click.group(cls=WordGroup, help="help.officer")
def command() -> None:
    """Group."""


@command.command("request", help="help.officer_request")
@request_options
@option("--blinds", type=FILE, help="option.blinds")
@option("--gateway", type=click.Path(path_type=Path), help="option.gateway_socket")
@place_options("requester")
def request(
    place: Place,
    wanted: Request,
    subjects: list[str],
    blinds: Path | None,
    gateway: Path | None,
    as_json: bool,
) -> None:
    """Ask for records. Exit code 4 when the contracts deny."""
    if (blinds is None) is (gateway is None):
        raise InvalidUsage("request-keeper", "--blinds, --gateway")
    check_requester(wanted, place.member)
    blinded = blind_subjects(subjects)
    body = ShareRequested(subjects=tuple(each.commitment for each in blinded), **wanted.terms())
    # After the pass phrase, so that a wrong one leaves nothing; before the event refers to them.
    act(
        place,
        body,
        as_json,
        prepare=lambda: _write_blinds(blinds, blinded),
        hand=lambda event: _hand_over(gateway, event, blinded),
    )


def _write_blinds(path: Path | None, blinded: tuple[Blinded, ...]) -> None:
    if path is not None:
        from tools.founding import write_secret

        write_secret(path, encode_blinds(blinded))


def _hand_over(path: Path | None, event: Event, blinded: tuple[Blinded, ...]) -> None:
    """The gateway keeps the blinds, submits the event, and goes on with the exchange."""
    if path is not None:
        subjects = [{"id": each.subject, "blind": each.blind.hex()} for each in blinded]
        data = base64.b64encode(event.data).decode()
        GatewaySocket(path).post("/v1/requests", {"event": data, "subjects": subjects})


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

    async def fetch() -> tuple[list[VerifiedRecord], standing.Standing]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            records = await client.fetch_exchange(parse_hash(exchange))
            return records, await standing.fetch_standing(client, exchange)

    records, told = run(fetch())
    head = [say(f"column.{name}") for name in ("index", "kind", "member", "outcome", "contracts")]
    lang: Language = "zh" if language() == "zh" else "en"
    rows = [
        [
            str(record.index),
            kind_word(record.event.kind, lang),
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
        "risk": {"verified": False, **risks.document_of(told.risk)},
        **standing.document_of(told),
        "records": [document_of(record) for record in records],
    }
    parts = (
        format_table(head, rows),
        *risks.describe_risk(told.risk),
        _outlook(state, steps),
        *standing.describe_standing(told),
    )
    emit(as_json, document, "\n".join(filter(None, parts)))


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


for each in (
    *later.COMMANDS, *refer.COMMANDS, *incidents.COMMANDS, *subjects.COMMANDS, *tasks.COMMANDS
):  # fmt: skip
    command.add_command(each)
