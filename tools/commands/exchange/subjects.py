"""`tally officer subjects`: open the commitments of a request with the blinds."""

from pathlib import Path

import click
import msgspec

from ledger.errors import InvalidSubject
from ledger.events import ShareOpening
from ledger.exchange.subjects import verify_subject
from tools.client import Client, VerifiedRecord
from tools.commands.acting import Place, parse_hash, place_options
from tools.custody.blinds import Blinded, decode_blinds
from tools.exits import InvalidAnswer, InvalidInput
from tools.mirror import read_genesis
from tools.options import WordCommand, option
from tools.output import emit, run
from tools.words import say

FILE_BYTES_MAX = 1_048_576


@click.command("subjects", cls=WordCommand, help="help.officer_subjects")
@click.argument("exchange")
@option(
    "--blinds",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.open_blinds",
)
@place_options(None)
def subjects(place: Place, exchange: str, blinds: Path, as_json: bool) -> None:
    """Check that a file of blinds opens every subject of an exchange, and no other."""
    blinded = _read_blinds(blinds)

    async def fetch() -> list[VerifiedRecord]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.fetch_exchange(parse_hash(exchange))

    opening = run(fetch())[0].event.body
    assert isinstance(opening, ShareOpening), "the first record of an exchange opens it"
    check_openings(opening.subjects, blinded)
    names = sorted(each.subject for each in blinded)
    document = {"verified": True, "exchange": exchange, "subjects": names}
    emit(as_json, document, say("officer.subjects_open", count=len(names), exchange=exchange))


def check_openings(commitments: tuple[bytes, ...], blinded: tuple[Blinded, ...]) -> None:
    """Check that blinds open exactly these commitments. Raises `InvalidAnswer`."""
    given = sorted(blinded, key=lambda each: each.commitment)
    if len(given) != len(commitments):
        raise InvalidAnswer("subjects-differ", f"{len(given)} != {len(commitments)}")
    try:
        for commitment, each in zip(sorted(commitments), given, strict=True):
            verify_subject(commitment, each.subject, each.blind)
    except InvalidSubject as error:
        raise InvalidAnswer("subjects-differ", str(error)) from None


def _read_blinds(path: Path) -> tuple[Blinded, ...]:
    from tools.founding import read_file

    try:
        return decode_blinds(read_file(path, size_bytes_max=FILE_BYTES_MAX))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("blinds-invalid", f"{path}: {error}") from None


COMMANDS = (subjects,)
