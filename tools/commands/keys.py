"""`tally keys`: make a key file, show the public half of one."""

from pathlib import Path

import click

from ledger.errors import InvalidKey
from ledger.keys import (
    SecretKey,
    fingerprint,
    format_public_key,
    format_secret_key,
    parse_secret_key,
)
from tools.exits import InvalidInput
from tools.output import WordGroup, common, emit
from tools.words import say

KEY_FILE_BYTES_MAX = 4_096


def read_secret_key(path: Path) -> SecretKey:
    """Key of a file that only its owner can read. Raises `InvalidInput`."""
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidInput("key-readable", str(path))
        with path.open("r", encoding="ascii") as file:
            return parse_secret_key(file.read(KEY_FILE_BYTES_MAX))
    except OSError as error:
        raise InvalidInput("key-unreadable", f"{path}: {error.strerror}") from None
    except (InvalidKey, UnicodeDecodeError) as error:
        text = str(error) if isinstance(error, InvalidKey) else "not ASCII"
        raise InvalidInput("key-invalid", f"{path}: {text}") from None


@click.group(cls=WordGroup, help="help.keys")
def command() -> None:
    """Group."""


@command.command("generate", help="help.keys_generate")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@common
def generate(path: Path, as_json: bool) -> None:
    """Make a new key file with mode 0600."""
    from tools.founding import new_secret_key, write_secret

    key = new_secret_key()
    write_secret(path, format_secret_key(key).encode())
    _show(key, path, as_json)


@command.command("show", help="help.keys_show")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@common
def show(path: Path, as_json: bool) -> None:
    """Show the public key of a file."""
    _show(read_secret_key(path), path, as_json)


def _show(key: SecretKey, path: Path, as_json: bool) -> None:
    public, short = format_public_key(key.public), fingerprint(key.public)
    document = {"path": str(path), "public_key": public, "fingerprint": short}
    emit(as_json, document, f"{public}\n{say('word.fingerprint')} {short}")
