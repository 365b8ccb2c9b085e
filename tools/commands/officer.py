"""`tally officer`: requests and answers, signed with the officer's key on this machine."""

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from ledger.blocks import Outcome
from ledger.errors import InvalidEvent
from ledger.events import (
    Body,
    ShareApproved,
    ShareDelivered,
    ShareReceived,
    ShareRefused,
    ShareRejected,
    ShareRequested,
    ShareWithdrawn,
    Urgency,
)
from tools.client import Client, VerifiedRecord
from tools.commands.keys import read_secret_key
from tools.exits import Denied, InvalidInput, RefusedEvent
from tools.localnet import Localnet
from tools.mirror import read_genesis
from tools.output import WordGroup, common, directory_option, emit, format_table, option, run
from tools.words import language, say

BLIND_BYTES = 32
SUBJECT_LINES_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to send, whom to believe, and who signs."""

    url: str
    genesis: Path
    member: str
    key: Path | None


@click.group(cls=WordGroup, help="help.officer")
def command() -> None:
    """Group."""


def _place(role: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that say where and who; the function gets a `Place`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(
            directory: Path,
            url: str | None,
            genesis: Path | None,
            member: str,
            key: Path | None = None,
            **values: Any,
        ) -> Any:
            place = _find_place(directory, url, genesis, member, key, role)
            return function(place=place, **values)

        wrapped.__doc__ = function.__doc__
        wrapped.__name__ = function.__name__
        path = click.Path(path_type=Path, dir_okay=False)
        decorated = common(wrapped)
        if role:
            decorated = option("--key", type=path, help="option.key")(decorated)
        decorated = option("--member", default="", help="option.member")(decorated)
        decorated = option("--genesis", type=path, help="option.genesis")(decorated)
        decorated = option("--url", help="option.url")(decorated)
        return cast(Callable[..., Any], directory_option(decorated))

    return decorate


def _find_place(
    directory: Path,
    url: str | None,
    genesis: Path | None,
    member: str,
    key: Path | None,
    role: str | None,
) -> Place:
    if role and not member:
        raise InvalidInput("member-missing", say("error.member_missing"))
    if url is None or genesis is None or (role and key is None):
        network = Localnet(directory.resolve())
        url = url or network.node(member if member in network.members else network.members[0]).api
        genesis = genesis or network.genesis_path
        if role:
            key = key or network.officer_key_path(member, role)
    return Place(url=url, genesis=genesis, member=member, key=key)


@command.command("request", help="help.officer_request")
@option("--to", "provider", required=True, help="option.to")
@option("--dataset", required=True, help="option.dataset")
@option("--purpose", required=True, help="option.purpose")
@option("--legal-basis", required=True, help="option.legal_basis")
@option("--field", "fields", multiple=True, required=True, help="option.field")
@option("--from", "period_from", required=True, help="option.period_from")
@option("--until", "period_to", required=True, help="option.period_to")
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
    default="normal",
    help="option.urgency",
)
@option("--retention-days", type=click.IntRange(1, 36_500), default=180, help="option.retention")
@option("--case", default="", help="option.case")
@_place("requester")
def request(place: Place, subjects: Path, blinds: Path, as_json: bool, **values: Any) -> None:
    """Ask for records. Exit code 4 when the contracts deny."""
    body = ShareRequested(
        provider=values["provider"],
        dataset=values["dataset"],
        purpose=values["purpose"],
        legal_basis=values["legal_basis"],
        fields=tuple(values["fields"]),
        period_from=values["period_from"],
        period_to=values["period_to"],
        subjects=_commit(subjects, blinds),
        urgency=cast(Urgency, values["urgency"]),
        retention_days=values["retention_days"],
        case=values["case"],
    )
    _act(place, body, as_json)


@command.command("approve", help="help.officer_approve")
@click.argument("exchange")
@option("--comment", default="", help="option.comment")
@_place("approver")
def approve(place: Place, exchange: str, comment: str, as_json: bool) -> None:
    """Allow an exchange under review."""
    _act(place, ShareApproved(exchange=_hash(exchange), comment=comment), as_json)


@command.command("refuse", help="help.officer_refuse")
@click.argument("exchange")
@option("--reason", required=True, help="option.reason")
@option("--text", default="", help="option.comment")
@_place("approver")
def refuse(place: Place, exchange: str, reason: str, text: str, as_json: bool) -> None:
    """Refuse an exchange under review."""
    _act(place, ShareRefused(exchange=_hash(exchange), reason=reason, text=text), as_json)


@command.command("withdraw", help="help.officer_withdraw")
@click.argument("exchange")
@option("--text", default="", help="option.comment")
@_place("requester")
def withdraw(place: Place, exchange: str, text: str, as_json: bool) -> None:
    """Take a request back."""
    _act(place, ShareWithdrawn(exchange=_hash(exchange), text=text), as_json)


@command.command("deliver", help="help.officer_deliver")
@click.argument("exchange")
@option("--commitment", required=True, help="option.commitment")
@option("--records", type=click.IntRange(0), required=True, help="option.records")
@option("--quality-digest", required=True, help="option.quality")
@option("--size-bytes", type=click.IntRange(0), required=True, help="option.size")
@option("--schema-version", type=click.IntRange(1), default=1, help="option.schema")
@option("--outbox-until-ms", type=click.IntRange(0), required=True, help="option.outbox")
@_place("provider")
def deliver(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Record a delivery."""
    body = ShareDelivered(
        exchange=_hash(exchange),
        commitment=_hash(values["commitment"]),
        record_count=values["records"],
        schema_version=values["schema_version"],
        quality_digest=_hash(values["quality_digest"]),
        size_bytes=values["size_bytes"],
        outbox_until_ms=values["outbox_until_ms"],
    )
    _act(place, body, as_json)


@command.command("receive", help="help.officer_receive")
@click.argument("exchange")
@option("--commitment", required=True, help="option.commitment")
@option("--records", type=click.IntRange(0), required=True, help="option.records")
@_place("requester")
def receive(place: Place, exchange: str, commitment: str, records: int, as_json: bool) -> None:
    """Record that a delivery was opened and validated."""
    body = ShareReceived(
        exchange=_hash(exchange), commitment=_hash(commitment), record_count=records
    )
    _act(place, body, as_json)


@command.command("reject", help="help.officer_reject")
@click.argument("exchange")
@option("--commitment", required=True, help="option.commitment")
@option("--code-set", default="tallystick-1", show_default=True, help="option.code_set")
@option("--code", "codes", type=int, multiple=True, required=True, help="option.code")
@option("--text", default="", help="option.comment")
@_place("requester")
def reject(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Reject a delivery with status codes."""
    body = ShareRejected(
        exchange=_hash(exchange),
        commitment=_hash(values["commitment"]),
        code_set=values["code_set"],
        codes=tuple(values["codes"]),
        text=values["text"],
    )
    _act(place, body, as_json)


@command.command("status", help="help.officer_status")
@click.argument("exchange")
@_place(None)
def status(place: Place, exchange: str, as_json: bool) -> None:
    """Show an exchange: every record of it, verified."""

    async def fetch() -> list[VerifiedRecord]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.fetch_exchange(_hash(exchange))

    records = run(fetch())
    head = [say(f"column.{name}") for name in ("index", "kind", "member", "outcome", "contracts")]
    rows = [
        [
            str(record.index),
            record.event.kind,
            record.event.member,
            _describe(record.outcome),
            ", ".join(record.outcome.policies),
        ]
        for record in records
    ]
    document = {"exchange": exchange, "records": [_document(record) for record in records]}
    emit(as_json, document, format_table(head, rows))


@command.command("watch", help="help.officer_watch")
@option("--since", type=click.IntRange(0), help="option.since")
@_place(None)
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
        click.echo(msgspec.json.encode(_document(record)))
    else:
        click.echo(
            f"{record.index:>8}  {record.event.kind:<16} {record.event.member:<18}"
            f" {_describe(record.outcome)}  {', '.join(record.outcome.policies)}"
        )


def _act(place: Place, body: Body, as_json: bool) -> None:
    """Sign, submit, verify, print; a denial or a refused record is an error."""

    async def act() -> VerifiedRecord:
        assert place.key is not None, "commands that sign have a key"
        key = read_secret_key(place.key)
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.execute(await client.sign(key, member=place.member, body=body))

    try:
        # Strict reading finds what the constructor does not check: dates, identifiers, counts.
        msgspec.convert(msgspec.to_builtins(body, builtin_types=(bytes,)), type(body))
        record = run(act())
    except (InvalidEvent, msgspec.ValidationError) as error:
        raise InvalidInput("event-body-invalid", str(error)) from None
    outcome = record.outcome
    policies = ", ".join(outcome.policies)
    if outcome.decision == "deny":
        if as_json:
            emit(True, _document(record), "")
        text = say("officer.denied", policies=policies) + _explain(place, outcome)
        raise Denied(outcome.code or "contract-denied", text)
    if not outcome.applied:
        raise RefusedEvent(outcome.code, say("officer.refused", index=record.index))
    text = say(
        "officer.done",
        exchange=record.event.exchange.hex(),
        index=record.index,
        outcome=_describe(outcome),
        policies=policies or "-",
    )
    emit(as_json, _document(record), text + _explain(place, outcome))


def _explain(place: Place, outcome: Outcome) -> str:
    """Why the contracts of the genesis decided so, a sentence a line; empty if nobody was asked."""
    from contracts.decision import explain
    from contracts.engine import PolicyEngine

    if not outcome.decision:
        return ""
    decision = PolicyEngine(read_genesis(place.genesis).policy_set).recall(outcome)
    if decision is None:
        return ""
    lines = explain(decision, "zh" if language() == "zh" else "en").split("\n")
    return "".join(f"\n  {line}" for line in lines)


def _describe(outcome: Outcome) -> str:
    if not outcome.applied:
        return f"{say('word.refused')} ({outcome.code})"
    return say(f"decision.{outcome.decision}") if outcome.decision else say("word.applied")


def _document(record: VerifiedRecord) -> dict[str, Any]:
    outcome = msgspec.to_builtins(record.outcome, builtin_types=(bytes,))
    return {
        "verified": True,
        "index": record.index,
        "digest": record.event.digest.hex(),
        "exchange": record.event.exchange.hex(),
        "kind": record.event.kind,
        "member": record.event.member,
        "outcome": {**outcome, "policy_set": record.outcome.policy_set.hex()},
    }


def _hash(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32 or text != data.hex():
        raise InvalidInput("digest-invalid", say("error.digest", text=text))
    return data


def _commit(subjects: Path, blinds: Path) -> tuple[bytes, ...]:
    """Commitments to the identifiers in a file, one a line; the blinds go to a new file 0600."""
    from tools.founding import write_secret

    try:
        text = subjects.read_text("utf-8")
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{subjects}: {error.strerror}") from None
    names = [line.strip() for line in text.split("\n") if line.strip()]
    if not 1 <= len(names) <= SUBJECT_LINES_MAX or len(set(names)) != len(names):
        raise InvalidInput("subjects-invalid", say("error.subjects", path=subjects))
    pairs = [(name, os.urandom(BLIND_BYTES)) for name in names]
    lines = [msgspec.json.encode({"subject": name, "blind": blind.hex()}) for name, blind in pairs]
    write_secret(blinds, b"\n".join(lines) + b"\n")
    return tuple(hmac.digest(blind, name.encode(), hashlib.sha256) for name, blind in pairs)
