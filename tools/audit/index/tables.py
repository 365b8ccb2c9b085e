"""The index of a copy: two SQLite files beside it, what stands in them, and how they are opened.

    DIR/index.sqlite          what was found on the way through the log: the tables below
    DIR/index-state.sqlite    the state after the last block, key by key, and all commitments
    DIR/index.sha256          the seal of both, as `sha256sum` writes it

A row of `event` is a record of the log with what its exchange is about and the state that this is
in now, narrow, since a search reads them all; `record` holds the rest. `decided`: contracts were
asked; a step that they allow has no word of decision. Days are numbers, 20260131. `exchange` has a
row for each opening event, also one that was refused. Words (members, kinds, codes) stand once in
`word` and are named by their number.

Commitments to subjects are more than all the rest, so they stand with the state: a search need not
see that they are whole. The seal tells damage, not malice: who can write the folder can write all
three files.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledger.verify import LogCopy

INDEX_NAME = "index.sqlite"
STATE_NAME = "index-state.sqlite"
SEAL_NAME = "index.sha256"
VERSION = 3

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE officer (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, fingerprint TEXT NOT NULL
);
CREATE TABLE block (height INTEGER PRIMARY KEY, idx INTEGER NOT NULL, time_ms INTEGER NOT NULL);
CREATE TABLE exchange (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, idx INTEGER NOT NULL
);
CREATE TABLE event (
    idx INTEGER PRIMARY KEY, kind INTEGER NOT NULL, member INTEGER NOT NULL,
    officer INTEGER NOT NULL, decision INTEGER NOT NULL, exchange INTEGER,
    requester INTEGER NOT NULL, provider INTEGER NOT NULL, dataset INTEGER NOT NULL,
    purpose INTEGER NOT NULL, legal_basis INTEGER NOT NULL, period_from INTEGER NOT NULL,
    period_to INTEGER NOT NULL, status INTEGER NOT NULL, decided INTEGER NOT NULL
);
CREATE TABLE record (
    idx INTEGER PRIMARY KEY, height INTEGER NOT NULL, roles INTEGER NOT NULL,
    applied INTEGER NOT NULL, code INTEGER NOT NULL, policy_set INTEGER NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE policy (id INTEGER, idx INTEGER, PRIMARY KEY (id, idx)) WITHOUT ROWID;
CREATE TABLE code (id INTEGER, idx INTEGER, PRIMARY KEY (id, idx)) WITHOUT ROWID;
CREATE TABLE incident (
    exchange BLOB, idx INTEGER, PRIMARY KEY (exchange, idx)
) WITHOUT ROWID;
"""
# Made when the rows are in: that is faster, and the same for one who reads.
SEARCH_SCHEMA = """
CREATE INDEX IF NOT EXISTS block_time ON block (time_ms);
CREATE INDEX IF NOT EXISTS event_exchange ON event (exchange);
CREATE INDEX IF NOT EXISTS event_officer ON event (officer);
"""
STATE_SCHEMA = """
CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE subject (
    commitment BLOB, exchange INTEGER, PRIMARY KEY (commitment, exchange)
) WITHOUT ROWID;
"""


class DamagedIndex(Exception):
    """The index cannot be used: it is made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """How far an index reaches. `accumulator` is that of the state (`ledger.state`)."""

    network: bytes
    size: int
    root: bytes
    height: int
    time_ms: int
    accumulator: bytes


class IndexState:
    """The state after the last block that an index covers, a `StateReader`, and commitments."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, key: bytes) -> bytes | None:
        """Value of `key`, or None."""
        row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with keys that begin with `prefix`, in key order. It does not end with 0xff."""
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        yield from self._db.execute(
            "SELECT key, value FROM state WHERE key >= ? AND key < ? ORDER BY key", (prefix, end)
        )

    def find_exchanges(self, commitment: bytes) -> list[int]:
        """Numbers of the exchanges that name a commitment, rising as these stand in the log."""
        asked = "SELECT exchange FROM subject WHERE commitment = ? ORDER BY exchange"
        return [number for (number,) in self._db.execute(asked, (commitment,))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An open index and the copy that it stands beside.

    `how` says what was done for it: `kept`, `extended`, `built` or `rebuilt`.
    """

    db: sqlite3.Connection
    state: IndexState
    covered: Covered
    copy: LogCopy
    how: str


def connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """A connection to one of the files; one that only reads leaves no other file behind."""
    mode = "mode=rwc" if write else "mode=ro&immutable=1"
    db = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)
    if write:
        # A file in the making is thrown away after a crash.
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    return db


def is_sealed(directory: Path, name: str) -> bool:
    """Whether a file of the index is what was sealed."""
    try:
        lines = (directory / SEAL_NAME).read_text("ascii", errors="replace").split("\n")
        return _seal_line(directory / name) in lines
    except FileNotFoundError:
        return False


def write_seal(directory: Path) -> None:
    """Seal the index of a folder."""
    lines = [_seal_line(directory / name) for name in (INDEX_NAME, STATE_NAME)]
    temporary = directory / f".{SEAL_NAME}"
    temporary.write_text("".join(f"{line}\n" for line in lines), "ascii")
    temporary.replace(directory / SEAL_NAME)


def _seal_line(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}"


def read_covered(db: sqlite3.Connection) -> Covered:
    """How far an index reaches. Raises `DamagedIndex` also for one of another version."""
    try:
        held: dict[str, Any] = dict(db.execute("SELECT name, value FROM meta"))
        if held.pop("version") != VERSION:
            raise DamagedIndex("another version")
        return Covered(**held)
    except (sqlite3.Error, KeyError, TypeError) as error:
        raise DamagedIndex(str(error)) from None


def write_covered(db: sqlite3.Connection, covered: Covered) -> None:
    """Note how far an index reaches."""
    fields = {name: getattr(covered, name) for name in Covered.__slots__}
    rows = {"version": VERSION, **fields}.items()
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def number_of_day(day: str) -> int:
    """A day (YYYY-MM-DD) as the tables have it."""
    return int(day.replace("-", ""))
