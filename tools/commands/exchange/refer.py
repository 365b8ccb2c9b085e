"""`tally officer refer`, `compare-references`: the documents of a message, named and compared."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ledger.events import Event
from ledger.exchange.references import REFERENCES_MAX, Reference, ShareReferenced
from tools.client import Client, VerifiedRecord
from tools.commands.acting import Place, act, parse_hash, place_options
from tools.exits import UNVERIFIED, InvalidInput
from tools.mirror import read_genesis
from tools.options import WordCommand
from tools.output import emit, run
from tools.words import say

_LINE_BYTES_MAX = REFERENCES_MAX * 512


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line as `tally crs refs` writes it; digests in hex."""

    key_id: str
    message: str
    period: str
    receiving: str
    references: list[dict[str, str]]


@click.command("refer", cls=WordCommand, help="help.officer_refer")
@click.argument("exchange")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@place_options("provider")
def refer(place: Place, exchange: str, file: Path, as_json: bool) -> None:
    """Sign and submit one event for each line of the file; the first that is refused ends it."""
    about = parse_hash(exchange)
    for body in _read_bodies(about, file):
        act(place, body, as_json)


@click.command("compare-references", cls=WordCommand, help="help.officer_compare_references")
@click.argument("exchange")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@place_options(None)
def compare_references(place: Place, exchange: str, file: Path, as_json: bool) -> None:
    """Compare what the provider put on record with the message that came. Exit code 3: differs."""
    about = parse_hash(exchange)
    bodies = _read_bodies(about, file)

    async def fetch() -> list[VerifiedRecord]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.fetch_exchange(about)

    applied = [record.event for record in run(fetch()) if record.outcome.applied]
    counts = compare(applied, bodies)
    emit(as_json, counts, say("crs.compared", **{key: str(n) for key, n in counts.items()}))
    if counts["missing"] or counts["extra"]:
        click.get_current_context().exit(UNVERIFIED)


def compare(events: Sequence[Event], bodies: Sequence[ShareReferenced]) -> dict[str, int]:
    """How many references are on both sides, only in the message (missing), only on the ledger.

    On the ledger, only those of the messages in question count.
    """
    messages = {body.message for body in bodies}
    named = [event.body for event in events if isinstance(event.body, ShareReferenced)]
    recorded = _count(body for body in named if body.message in messages)
    found = _count(bodies)
    return {
        "equal": (recorded & found).total(),
        "missing": (found - recorded).total(),
        "extra": (recorded - found).total(),
    }


def _count(bodies: Iterable[ShareReferenced]) -> Counter[bytes]:
    """References with all that was said of their message, by their canonical bytes."""
    encode = msgspec.msgpack.encode
    return Counter(
        encode((body.key_id, body.message, body.period, body.receiving, each))
        for body in bodies
        for each in body.references
    )


def _read_bodies(exchange: bytes, file: Path) -> list[ShareReferenced]:
    try:
        lines = file.read_text("ascii").rstrip("\n").split("\n")
        return [_read_body(exchange, line) for line in lines]
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{file}: {error.strerror}") from None
    except (ValueError, msgspec.ValidationError, KeyError):
        raise InvalidInput("references-invalid", str(file)) from None


def _read_body(exchange: bytes, line: str) -> ShareReferenced:
    if len(line) > _LINE_BYTES_MAX:
        raise ValueError("too long")
    said = msgspec.convert(json.loads(line), _Line)
    references: list[Any] = [
        Reference(
            document=bytes.fromhex(each["document"]),
            indicator=each["indicator"],  # type: ignore[arg-type]  # checked before it is signed
            corrected=bytes.fromhex(each["corrected"]),
        )
        for each in said.references
    ]
    return ShareReferenced(
        exchange=exchange,
        key_id=bytes.fromhex(said.key_id),
        message=bytes.fromhex(said.message),
        period=said.period,
        receiving=said.receiving,
        references=tuple(references),
    )


COMMANDS = (refer, compare_references)
