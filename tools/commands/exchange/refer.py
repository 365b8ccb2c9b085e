"""`tally officer refer`: name the documents of a message before it is delivered."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from ledger.exchange.references import REFERENCES_MAX, Reference, ShareReferenced
from tools.commands.acting import Place, act, parse_hash, place_options
from tools.exits import InvalidInput
from tools.output import WordCommand

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
