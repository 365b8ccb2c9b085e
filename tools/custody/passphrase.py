"""Where a pass phrase comes from: a prompt, a private file, or a systemd credential.

Never from an argument or the environment, which other processes can read. A PIN of a token comes
the same ways. No message quotes one.
"""

import getpass
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, cast

import click

from ledger.custody.keystore import PASSPHRASE_BYTES_MAX, encode_passphrase
from ledger.errors import WrongPassphrase
from tools.exits import InvalidInput, InvalidUsage
from tools.options import option
from tools.words import say

PASSPHRASE_CHARS_MIN = 12
DIFFERENT_CHARS_MIN = 5
_CREDENTIAL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How the user wants to give a pass phrase; none of the fields: by prompt.

    `phrase` is one that was given already, where one protects several keys.
    """

    file: Path | None = None
    credential: str = ""
    phrase: str = field(default="", repr=False)

    @property
    def asks(self) -> bool:
        """Whether a person is asked, who may mistype."""
        return self.file is None and not self.credential and not self.phrase


PROMPT = Ways()


def passphrase_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that opens a key; the function gets `ways`."""

    @wraps(function)
    def wrapped(passphrase_file: Path | None, credential: str, **values: Any) -> Any:
        return function(ways=choose_ways(passphrase_file, credential), **values)

    path = click.Path(path_type=Path, dir_okay=False)
    decorated = option("--credential", default="", help="option.credential")(wrapped)
    return cast(
        Callable[..., Any],
        option("--passphrase-file", type=path, help="option.passphrase_file")(decorated),
    )


def choose_ways(file: Path | None, credential: str) -> Ways:
    """The way that the options name. Raises `InvalidUsage` for two."""
    if file is not None and credential:
        raise InvalidUsage("passphrase-ways", "--passphrase-file, --credential")
    return Ways(file=file, credential=credential)


def read_passphrase(ways: Ways, label: str) -> str:
    """The pass phrase, or PIN, of what `label` names. Raises `InvalidInput`."""
    if ways.asks:
        return _checked(_ask(say("custody.ask", label=label)), label)
    return _read_file(ways)


def new_passphrase(ways: Ways, label: str) -> str:
    """A pass phrase for something new: long enough, and typed twice. Raises `InvalidInput`."""
    if not ways.asks:
        phrase = _read_file(ways)
        _check_strength(phrase, str(ways.file or ways.credential))
        return phrase
    phrase = _checked(_ask(say("custody.ask_new", label=label, count=PASSPHRASE_CHARS_MIN)), label)
    _check_strength(phrase, label)
    if _ask(say("custody.ask_again")) != phrase:
        raise InvalidInput("passphrase-differs", label)
    return phrase


def _ask(text: str) -> str:
    if not _has_terminal():
        raise InvalidInput("passphrase-unasked", "--passphrase-file, --credential")
    try:
        return getpass.getpass(text)
    except EOFError:
        raise InvalidInput("passphrase-invalid", say("custody.empty")) from None
    except UnicodeDecodeError:
        raise InvalidInput("passphrase-invalid", "UTF-8") from None


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True


def _read_file(ways: Ways) -> str:
    """The first and only line of the file, or what was given already."""
    if ways.phrase:
        return ways.phrase
    path = ways.file or _find_credential(ways.credential)
    try:
        # Not blocked for ever by a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise InvalidInput("passphrase-invalid", f"{path}: {say('custody.no_file')}")
            # The folder of credentials is systemd's, and private to the service.
            if ways.file is not None and mode & 0o077:
                raise InvalidInput("passphrase-readable", f"{path} ({stat.S_IMODE(mode):04o})")
            data = file.read(PASSPHRASE_BYTES_MAX + 3)
    except OSError as error:
        raise InvalidInput("passphrase-unreadable", f"{path}: {error.strerror}") from None
    try:
        text = data.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise InvalidInput("passphrase-invalid", f"{path}: UTF-8") from None
    return _checked(text, str(path))


def _find_credential(name: str) -> Path:
    """The file of a systemd credential. Raises `InvalidInput`."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder or not _CREDENTIAL.fullmatch(name):
        raise InvalidInput("credential-not-found", f"{name!r}, CREDENTIALS_DIRECTORY={folder!r}")
    return Path(folder) / name


def _checked(phrase: str, label: str) -> str:
    """The phrase, if it is one line that a keystore or token can take."""
    try:
        encode_passphrase(phrase)
    except WrongPassphrase as error:
        raise InvalidInput("passphrase-invalid", f"{label}: {error}") from None
    if any(char < " " or char == "\x7f" for char in phrase):
        raise InvalidInput("passphrase-invalid", f"{label}: {say('custody.one_line')}")
    return phrase


def _check_strength(phrase: str, label: str) -> None:
    if len(phrase) < PASSPHRASE_CHARS_MIN or len(set(phrase)) < DIFFERENT_CHARS_MIN:
        raise InvalidInput("passphrase-short", label)
