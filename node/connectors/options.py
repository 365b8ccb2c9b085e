"""Options of connectors and receivers: a table for each, strict, all faults named at once.

Secrets stand in files of their own, which others cannot read, and never in the configuration.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.connectors.errors import InvalidOptions

SECRET_BYTES_MAX = 8_192
REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Form:
    """What a value must look like, without words: `parse` raises ValueError."""

    text: str
    parse: Callable[[Any, Path], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: its form, default (as it would be written, or empty) and meaning."""

    name: str
    form: Form
    default: Any
    zh: str
    en: str


def option(name: str, form: Form, default: Any, zh: str, en: str) -> Option:
    """A row of a table of options."""
    return Option(name=name, form=form, default=default, zh=zh, en=en)


def read_options(table: Iterable[Option], options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Every option of the table with its value. Raises `InvalidOptions`."""
    known = {row.name: row for row in table}
    if unknown := sorted(set(options) - set(known)):
        named = ", ".join(unknown)
        raise InvalidOptions("option-unknown", f"{named} ({', '.join(known)})")
    required = [row.name for row in known.values() if row.default is REQUIRED]
    if missing := [name for name in required if name not in options]:
        raise InvalidOptions("option-missing", ", ".join(missing))
    found, faults = {}, []
    for name, row in known.items():
        try:
            value = options.get(name, row.default)
            found[name] = row.form.parse(value, base) if name in options or value else value
        except ValueError:
            faults.append(f"{name}: {row.form.text}")
    if faults:
        raise InvalidOptions("option-invalid", "; ".join(faults))
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _names(value: Any, _base: Path) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(_text(name) for name in value)


def _table(value: Any, _base: Path) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError
    return {_text(key): _text(name) for key, name in value.items()}


def choice(*names: str) -> Form:
    """One of these words."""

    def parse(value: Any, _base: Path) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Form(" | ".join(names), parse)


def count(low: int, high: int) -> Form:
    """A whole number."""

    def parse(value: Any, _base: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Form(f"{low:,} … {high:,}", parse)


TEXT = Form('"…"', lambda value, _base: _text(value))
PATH = Form('"…"', lambda value, base: base / _text(value))
NAMES = Form('["…", …]', _names)
TABLE = Form("{ … = … }", _table)


def read_secret(path: Path, name: str) -> bytes:
    """The one line of a file that only its owner can read. Raises `InvalidOptions`."""
    data = read_private(path, name)
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line or any(byte < 0x20 for byte in line):
        raise InvalidOptions("secret-form", f"{name}: {path}")
    return line


def read_private(path: Path, name: str) -> bytes:
    """A small file that only its owner can read. Raises `InvalidOptions`."""
    try:
        # Not blocked for ever by a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            data = file.read(SECRET_BYTES_MAX) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise InvalidOptions("secret-unreadable", f"{name}: {path}: {error.strerror}") from None
    if mode & 0o077 and not _is_credential(path):
        raise InvalidOptions("secret-open", f"{name}: {path}")
    return data


def _is_credential(path: Path) -> bool:
    """Whether systemd keeps the file for this service alone, whatever its mode."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().is_relative_to(Path(str(folder)).resolve())
