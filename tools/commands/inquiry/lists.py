"""`tally audit index`, `gaps`, `reciprocity` and `subject`: what the state of a copy says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from contracts.exchange.duties import Duty, exchange_duties, incident_duties
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.exchange.reciprocity import read_receipts
from contracts.lookup import find_exchange, find_member
from contracts.words import status_word
from ledger.exchange.incidents import INCIDENTS
from ledger.exchange.matters import Holding
from ledger.registry import EXCHANGES, PAIR_COUNTERS, Exchange
from ledger.state import exchange_key, incident_key
from tools.audit.index.asking import describe_records
from tools.audit.index.tables import Index, IndexState
from tools.commands.exchange.reciprocity import Pair, Scope, tell_pairs
from tools.commands.exchange.tasks import Task, tell_tasks
from tools.commands.inquiry.opening import (
    Source,
    cover_document,
    cover_line,
    source_options,
)
from tools.custody.blinds import Blinded, decode_kept
from tools.exits import InvalidInput, NotFound
from tools.options import WordCommand, option
from tools.output import emit, format_table, printable, tell_time
from tools.words import language, say

BLINDS_BYTES_MAX = 16_777_216
DIGITS_SHOWN = 12
_COUNTERS = b"c/"
_EXCHANGES, _INCIDENTS = exchange_key(b""), incident_key(b"")


@click.command("index", cls=WordCommand, help="help.audit_index")
@source_options
@option("--rebuild", is_flag=True, help="option.index_rebuild")
def make_index(source: Source, rebuild: bool, as_json: bool) -> None:
    """Make or extend the index, and say what it covers."""
    with source.open(anew=rebuild) as index:
        counts = {
            "events": "SELECT count(*) FROM event", "exchanges": "SELECT count(*) FROM exchange"
        }  # fmt: skip
        found = {name: index.db.execute(asked).fetchone()[0] for name, asked in counts.items()}
        emit(as_json, {**cover_document(index), **found}, cover_line(index))


@click.command("gaps", cls=WordCommand, help="help.audit_gaps")
@source_options
@option("--member", default="", help="option.gaps_member")
@option("--all", "with_all", is_flag=True, help="option.gaps_all")
def gaps(source: Source, member: str, with_all: bool, as_json: bool) -> None:
    """List what was not done in time; with --all also what is not due yet."""
    with source.open() as index:
        _check_member(index, member)
        time_ms = index.covered.time_ms
        found = [
            task
            for task in sorted(read_tasks(index.state, time_ms), key=_place)
            if member in ("", task.member) and (with_all or task.is_overdue)
        ]
        none = "tasks.none" if with_all else "tasks.none_overdue"
        text = f"{printable(tell_tasks(found, none))}\n{cover_line(index)}"
        emit(as_json, {**cover_document(index), "verified": True, "tasks": found}, text)


def _check_member(index: Index, member: str) -> None:
    """Raise `NotFound` for one that the ledger never had: of it nothing could be said."""
    if member and find_member(index.state, member) is None:
        raise NotFound("member-unknown", member)


def read_tasks(state: IndexState, time_ms: int) -> Iterator[Task]:
    """What is owed at a block time about every exchange and incident."""
    rules = read_deadlines(state)
    for key, value in state.scan(_EXCHANGES):
        exchange, id_ = EXCHANGES.decode(value), key[len(_EXCHANGES) :]
        duties = exchange_duties(exchange, read_matters(state, id_, exchange), rules)
        yield from (_task(duty, "exchange", id_, time_ms) for duty in duties)
    for key, value in state.scan(_INCIDENTS):
        id_ = key[len(_INCIDENTS) :]
        for duty in incident_duties(INCIDENTS.decode(value), rules):
            yield _task(duty, "incident", id_, time_ms)


def _task(duty: Duty, about: Literal["exchange", "incident"], id_: bytes, time_ms: int) -> Task:
    return Task(
        subject=id_.hex(),
        about=about,
        member=duty.member,
        gap=duty.gap,
        kinds=(),
        due_ms=duty.due_ms,
        is_overdue=duty.is_overdue(time_ms),
    )


def _place(task: Task) -> tuple[int, str, str, str]:
    return task.due_ms, task.subject, task.gap, task.member


@click.command("reciprocity", cls=WordCommand, help="help.audit_reciprocity")
@source_options
@option("--year", type=click.IntRange(1_970, 9_999), help="option.reciprocity_year")
@option("--purpose", default="", help="option.reciprocity_purpose")
@option("--member", default="", help="option.reciprocity_member")
@option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="option.reciprocity_svg")
def reciprocity(
    source: Source, year: int | None, purpose: str, member: str, svg: Path | None, as_json: bool
) -> None:
    """Show the counters of all pairs, computed from the copy."""
    with source.open() as index:
        _check_member(index, member)
        scope = Scope(year=year, purpose=purpose, member=member)
        document, text = tell_pairs(list(read_pairs(index.state)), scope, svg)
        covered = cover_document(index)
        emit(as_json, {**covered, "verified": True, **document}, f"{text}\n{cover_line(index)}")


def read_pairs(state: IndexState) -> Iterator[Pair]:
    """Counters of every ordered pair, purpose and year."""
    for key, value in state.scan(_COUNTERS):
        requester, provider, purpose, digits = key[len(_COUNTERS) :].decode().split("\0")
        counters, year = PAIR_COUNTERS.decode(value), int(digits)
        receipts = read_receipts(state, requester, year, provider, purpose)
        yield Pair(
            requester=requester,
            provider=provider,
            purpose=purpose,
            year=year,
            asked=counters.asked,
            permitted=counters.permitted,
            denied=counters.denied,
            refused=counters.refused,
            answered=counters.delivered,
            in_time=counters.delivered - counters.late,
            late=counters.late,
            records_sent=counters.records,
            received=receipts.exchanges,
            records_received=receipts.records,
        )


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange about a person: who asked whom for what, and who received it.

    `fields` are those that could be given: without what a contract had redacted. `holders` is
    empty where nothing was received.
    """

    subject: str
    exchange: str
    time_ms: int
    requester: str
    provider: str
    dataset: str
    purpose: str
    legal_basis: str
    decision: str
    status: str
    fields: tuple[str, ...]
    holders: tuple[dict[str, Any], ...]


@click.command("subject", cls=WordCommand, help="help.audit_subject")
@source_options
@option(
    "--blind",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.subject_blind",
)
def subject(source: Source, blind: Path, as_json: bool) -> None:
    """Say who received what about the persons whose blinds the file holds."""
    blinded = read_blinds(blind)
    with source.open() as index:
        found, unknown = [], []
        for each in blinded:
            about = list(find_disclosures(index, each))
            found += about
            unknown += [] if about else [each.subject]
        text = "\n".join(filter(None, (_disclosure_table(found), cover_line(index))))
        document = {**cover_document(index), "exchanges": found, "not_in_log": unknown}
    if unknown:
        text += "\n" + say("subject.unknown", subjects=", ".join(sorted(set(unknown))))
    emit(as_json, document, printable(text))


def read_blinds(path: Path) -> tuple[Blinded, ...]:
    """Subjects and blinds of a file in one of the two forms. Raises `InvalidInput`."""
    from tools.founding import read_file

    try:
        return decode_kept(read_file(path, size_bytes_max=BLINDS_BYTES_MAX))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("blinds-invalid", f"{path}: {error}") from None


def find_disclosures(index: Index, blinded: Blinded) -> Iterator[Disclosure]:
    """Exchanges with the commitment that a subject and its blind make."""
    asked = "SELECT digest, idx FROM exchange WHERE id = ?"
    for number in index.state.find_exchanges(blinded.commitment):
        digest, idx = index.db.execute(asked, (number,)).fetchone()
        (opening,) = describe_records(index.db, [idx])
        exchange = find_exchange(index.state, digest)
        holders: tuple[Holding, ...] = ()
        if exchange is not None:
            holders = read_matters(index.state, digest, exchange).holders
        yield Disclosure(
            subject=blinded.subject,
            exchange=digest.hex(),
            time_ms=opening.time_ms,
            requester=opening.requester,
            provider=opening.provider,
            dataset=opening.dataset,
            purpose=opening.purpose,
            legal_basis=opening.legal_basis,
            decision=opening.decision,
            status=opening.status,
            fields=() if exchange is None else _given_fields(exchange),
            holders=tuple(_holder(each) for each in holders),
        )


def _given_fields(exchange: Exchange) -> tuple[str, ...]:
    return tuple(name for name in exchange.fields if name not in exchange.redact)


def _holder(holding: Holding) -> dict[str, Any]:
    return {
        "member": holding.holder,
        "since_ms": holding.since_ms,
        "until_ms": holding.until_ms,
        "destroyed_ms": holding.destroyed_ms or None,
        "uses": holding.uses,
    }


def _disclosure_table(found: list[Disclosure]) -> str:
    columns = ("person", "time", "pair", "dataset", "purpose", "status", "received_by", "exchange")
    rows = [
        [
            each.subject,
            tell_time(each.time_ms),
            f"{each.requester} → {each.provider}",
            f"{each.dataset} ({', '.join(each.fields)})",
            f"{each.purpose} · {each.legal_basis}",
            tell_status(each.status),
            "; ".join(map(_tell_holder, each.holders)) or "-",
            each.exchange[:DIGITS_SHOWN],
        ]
        for each in found
    ]
    return format_table([say(f"column.{name}") for name in columns], rows) if rows else ""


def tell_status(status: str) -> str:
    """The state of an exchange; of one whose opening was refused there is none."""
    return say("trace.not_opened") if status == "not_opened" else status_word(status, language())


def _tell_holder(holder: dict[str, Any]) -> str:
    if holder["destroyed_ms"]:
        return say(
            "subject.destroyed", member=holder["member"], time=tell_time(holder["destroyed_ms"])
        )
    return say("subject.holds", member=holder["member"], until=tell_time(holder["until_ms"]))
