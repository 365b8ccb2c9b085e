"""`tally audit`: copy, replay and prove, without trusting any node."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ledger.errors import Divergence, LedgerError
from ledger.events import Event
from ledger.genesis import Genesis
from ledger.quorum.evidence import verify_equivocation
from ledger.quorum.governance import EvidenceEquivocation
from ledger.quorum.votes import decode_vote
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.receipt import Receipt, verify_receipt
from ledger.verify import LogCopy, open_copy, read_blocks
from tools.audit.divergence import diverged
from tools.exits import InvalidAnswer, InvalidInput
from tools.mirror import (
    FILE_BYTES_MAX,
    copy_at,
    event_map,
    folder_reader,
    read_epochs,
    read_genesis,
    write_epochs,
)
from tools.options import LazyGroup, common, jobs_option, option
from tools.output import emit, format_table, note, run
from tools.words import say

genesis_option = option(
    "--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis"
)


# What `LazyGroup` wants to know of the subcommands that do not stand here.
PLACES = {
    "replay": "copies.replay:replay",
    "segment": "copies.replay:segment",
    "merge": "copies.replay:merge",
    "who": "governance.who:who",
    "access": "records.access:access",
    "compare": "inquiry.compare:compare_copies",
    "index": "inquiry.lists:make_index",
    "gaps": "inquiry.lists:gaps",
    "reciprocity": "inquiry.lists:reciprocity",
    "subject": "inquiry.lists:subject",
    "search": "inquiry.search:search_records",
    "decisions": "inquiry.search:decisions",
    "trace": "inquiry.trace:trace_exchange",
    "evidence": "records.evidence:evidence",
    "verify-evidence": "records.evidence:verify_evidence",
    "export": "records.export:export",
    "report": "records.report:report",
    "mirror": "copies.mirror:mirror",
    "archive": "copies.archive:archive",
    "prune": "copies.archive:prune",
    "restore": "copies.archive:restore",
    "watch": "copies.watch:watch",
    "alarm": "copies.watch:alarm",
    "witness": "copies.witness:witness",
}


@click.group(cls=LazyGroup, places=PLACES, words="help.audit_", help="help.audit")
def command() -> None:
    """Group."""


@command.command("receipt", help="help.audit_receipt")
@click.argument("url")
@click.argument("index", type=click.IntRange(0))
@option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="option.out",
)
@genesis_option
@common
def receipt(url: str, index: int, out: Path, genesis: Path | None, as_json: bool) -> None:
    """Fetch an entry and its receipt, verified, as two files."""
    from tools.client import Client, fetch_genesis

    async def fetch() -> tuple[bytes, bytes]:
        founding = read_genesis(genesis) if genesis else _parse(await fetch_genesis(url))
        async with Client(url, founding) as client:
            found = await client.fetch_entry(index)
            size = Checkpoint.parse(Receipt.parse(found[1]).note.text).size
            write_epochs(out, client.epochs, size)
            return found

    entry, proof = run(fetch())
    out.mkdir(parents=True, exist_ok=True)
    paths = {"entry": out / f"{index}.entry", "receipt": out / f"{index}.tlog-proof"}
    paths["entry"].write_bytes(entry)
    paths["receipt"].write_bytes(proof)
    document = {"index": index, **{name: str(path) for name, path in paths.items()}}
    emit(as_json, document, say("audit.receipt", **document))


@command.command("verify-receipt", help="help.audit_verify_receipt")
@click.argument("receipt_path", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("entry_path", type=click.Path(path_type=Path, dir_okay=False))
@option(
    "--genesis",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.genesis",
)
@option("--epochs", type=click.Path(path_type=Path, file_okay=False), help="option.epochs")
@common
def verify(
    receipt_path: Path, entry_path: Path, genesis: Path, epochs: Path | None, as_json: bool
) -> None:
    """Check a receipt offline."""
    known = read_epochs(epochs or receipt_path.parent, read_genesis(genesis))
    data, entry = _read(receipt_path), _read(entry_path)
    try:
        proof = Receipt.parse(data)
        size = Checkpoint.parse(proof.note.text).size
        verify_receipt(proof, entry, known.policy_for(size))
    except LedgerError as error:
        raise InvalidAnswer("receipt-invalid", str(error)) from None
    emit(as_json, {"valid": True, "index": proof.index}, say("audit.proven", index=proof.index))


@command.command("equivocation", help="help.audit_equivocation")
@click.argument("where")
@genesis_option
@jobs_option
@common
def equivocation(where: str, genesis: Path | None, jobs: int, as_json: bool) -> None:
    """List the double votes on a log, each pair verified."""
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    with copy_at(where, founding) as directory:
        found = list(find_evidence(directory, genesis=founding, jobs=jobs))
    columns = ("index", "epoch", "view", "member", "votes", "submitted_by")
    head = [say(f"column.{name}") for name in columns]
    rows = [[str(getattr(each, name)) for name in columns] for each in found]
    text = say("audit.no_evidence") if not found else say("audit.evidence", count=len(found))
    if found:
        text = f"{format_table(head, rows)}\n{text}"
    emit(as_json, {"evidence": [asdict(each) for each in found]}, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accusation:
    """Two contradictory votes of one validator, proven: both signatures, and their place."""

    index: int
    height: int
    epoch: int
    view: int
    member: str
    votes: str
    first: str
    second: str
    submitted_by: str


def find_evidence(directory: Path, *, genesis: Genesis | None, jobs: int) -> Iterator[Accusation]:
    """Evidence in a copy, each verified by the validators of its epoch.

    The copy is verified on the way. Raises `InvalidAnswer` for a copy that is not what its
    checkpoint says, and for recorded evidence that proves nothing.
    """
    try:
        with event_map(jobs) as map_events:
            copy = open_copy(folder_reader(directory), genesis=genesis)
            for block in read_blocks(copy, map_events):
                rows = zip(block.events, block.outcomes, strict=True)
                for index, (event, outcome) in enumerate(rows, start=block.index + 1):
                    if isinstance(event.body, EvidenceEquivocation) and outcome.applied:
                        yield _accuse(copy, event, event.body, index, block.header.height)
    except Divergence as error:
        raise diverged(error) from None


def _accuse(
    copy: LogCopy, event: Event, body: EvidenceEquivocation, index: int, height: int
) -> Accusation:
    try:
        first, second = decode_vote(body.first), decode_vote(body.second)
        validators = copy.epochs.validators_of(first.subject.epoch)
        verify_equivocation(copy.network, validators, first, second)
    except LedgerError as error:
        raise InvalidAnswer("evidence-invalid", f"#{index}: {error}") from None
    return Accusation(
        index=index,
        height=height,
        epoch=first.subject.epoch,
        view=first.subject.view,
        member=validators[first.signer].member,
        votes=" / ".join(vote.subject.kind.name.lower() for vote in (first, second)),
        first=body.first.hex(),
        second=body.second.hex(),
        submitted_by=event.member,
    )


def _parse(data: bytes) -> Genesis:
    from ledger.genesis import decode_genesis_json

    try:
        return decode_genesis_json(data)
    except LedgerError as error:
        raise InvalidAnswer("genesis-invalid", str(error)) from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
