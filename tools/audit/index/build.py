"""Making the index of a copy: from verified tiles, in one pass, and on from where it ended.

1. The copy: steps 1 to 8 of `ledger.verify`. What an index covers already was verified when it was
   made: the copy must have, where the index ends, the root that it had then.
2. Each block is executed by its recorded decisions (`contracts.drafts.history`), so the roles and
   states that stand in the index are those of the log, from no node's word.
3. The state after the last block has the digest in its header.

The file is written aside and takes its place when it is whole. An index that is damaged, or was
made by another version or of another network, is made anew. One that was made of another history
of the same network is not: two histories are a finding.
"""

import errno
import fcntl
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from contracts.drafts.history import Changed, Happened, History
from contracts.replay import verify_state
from ledger.copies.tree import ProvenTree
from ledger.errors import Divergence, InvalidProof
from ledger.events import Event, ShareOpening, ShareRequested
from ledger.exchange.bodies import ShareOffered
from ledger.exchange.incidents import IncidentReported
from ledger.genesis import Genesis
from ledger.keys import fingerprint
from ledger.lthash.digest import StateDigest
from ledger.registry import EXCHANGES, OFFICERS
from ledger.state import exchange_key, officer_key
from ledger.verify import (
    BlockEntries,
    LogCopy,
    Start,
    open_copy,
    read_blocks,
    read_start,
)
from tools.audit.divergence import diverged
from tools.audit.index.tables import (
    INDEX_NAME,
    SCHEMA,
    SEARCH_SCHEMA,
    STATE_NAME,
    STATE_SCHEMA,
    Covered,
    DamagedIndex,
    Index,
    IndexState,
    connect,
    is_sealed,
    number_of_day,
    read_covered,
    write_covered,
    write_seal,
)
from tools.exits import InvalidAnswer, InvalidInput
from tools.mirror import event_map, folder_reader
from tools.output import note, progress
from tools.words import say

_EXCHANGES = exchange_key(b"")
# What a disk or a folder refuses, whatever was to be written.
_REFUSED_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
_REFUSED_ROWS = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR
)  # fmt: skip
# An exchange whose opening event was refused is in no state.
NOT_OPENED = "not_opened"


@contextmanager
def open_index(
    directory: Path,
    *,
    genesis: Genesis | None,
    jobs: int,
    with_state: bool = True,
    anew: bool = False,
) -> Iterator[Index]:
    """The index of the copy in a folder, made or extended where it must be.

    Who does not read the state need not wait until it is seen to be whole.

    Raises `InvalidAnswer` for a copy that is not what its checkpoint says, and where the index was
    made of another history; `InvalidInput` where it must be written and cannot.
    """
    try:
        copy = open_copy(folder_reader(directory), genesis=genesis)
        with _locked(directory):
            held = None if anew else _find_held(directory, copy, with_state)
            how = _bring_up(directory, copy, held, jobs)
            db, states = (connect(directory / name) for name in (INDEX_NAME, STATE_NAME))
    except Divergence as error:
        raise diverged(error) from None
    with closing(db), closing(states):
        yield Index(db=db, state=IndexState(states), covered=read_covered(db), copy=copy, how=how)


def covers_all(directory: Path, copy: LogCopy) -> bool:
    """Whether a whole index stands beside a copy, of all that it has: who made it has verified it.

    Raises `InvalidAnswer` where the index was made of another history.
    """
    held = _find_held(directory, copy, with_state=False)
    return held is not None and held.size == copy.checkpoint.size


def _bring_up(directory: Path, copy: LogCopy, held: Covered | None, jobs: int) -> str:
    if held is not None and held.size == copy.checkpoint.size:
        return "kept"
    if held is not None:
        try:
            with _telling_refusal(directory):
                _write(directory, copy, held, jobs)
            return "extended"
        except (Divergence, sqlite3.Error):
            pass  # made anew below: a copy that is not valid fails there too
    had_one = (directory / INDEX_NAME).exists()
    with _telling_refusal(directory):
        _write(directory, copy, None, jobs)
    return "rebuilt" if had_one else "built"


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time looks after the index of a folder; where none can write, all read."""
    try:
        file = (directory / f".{INDEX_NAME}.lock").open("wb")
    except OSError as error:
        if error.errno not in _REFUSED_FILES:
            raise
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(say("index.waiting", directory=directory))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _find_held(directory: Path, copy: LogCopy, with_state: bool) -> Covered | None:
    """What a whole index of this network covers that is no longer than the copy, or None."""
    if not is_sealed(directory, INDEX_NAME):
        return None
    try:
        with closing(connect(directory / INDEX_NAME)) as db:
            held = read_covered(db)
    except (DamagedIndex, sqlite3.Error):
        return None
    is_whole = held.size == copy.checkpoint.size
    if held.network != copy.network or held.size > copy.checkpoint.size:
        return None
    if not held.size and not is_whole:
        return None
    if (with_state or not is_whole) and not is_sealed(directory, STATE_NAME):
        return None
    if is_whole:
        _compare_root(held, copy.checkpoint.root)
    return held


def _compare_root(held: Covered, root: bytes) -> None:
    """Check that the log has this root where the index ends."""
    if root != held.root:
        detail = f"{held.size}: {held.root.hex()} != {root.hex()}"
        raise InvalidAnswer("index-other-history", detail)


@contextmanager
def _telling_refusal(directory: Path) -> Iterator[None]:
    """Say that the index cannot be written, where it is that."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED_FILES:
            raise
        path = error.filename or directory
        raise InvalidInput("index-unwritable", f"{path}: {error.strerror}") from None
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _REFUSED_ROWS:
            raise
        raise InvalidInput("index-unwritable", f"{directory}: {error}") from None


def _write(directory: Path, copy: LogCopy, held: Covered | None, jobs: int) -> None:
    """Write the index aside, from what is held on, and put it in its place."""
    names = (INDEX_NAME, STATE_NAME)
    parts = [directory / f".{name}.part" for name in names]
    try:
        for part, name in zip(parts, names, strict=True):
            part.unlink(missing_ok=True)
            if held is not None:
                shutil.copyfile(directory / name, part)
        with (
            closing(connect(parts[0], write=True)) as db,
            closing(connect(parts[1], write=True)) as states,
            event_map(jobs) as map_events,
            progress("index.building") as bar,
        ):
            writer = _Writer(db, states, copy, held)
            start = None if held is None else _find_end(db, copy, held)
            for block in read_blocks(copy, map_events, start=start):
                writer.add(block)
                bar(block.end, copy.checkpoint.size)
            writer.finish()
            db.commit()
            states.commit()
        for part, name in zip(parts, names, strict=True):
            part.replace(directory / name)
        write_seal(directory)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _find_end(db: sqlite3.Connection, copy: LogCopy, held: Covered) -> Start:
    """The end of the last block that an index covers, in a copy that is longer.

    Raises `InvalidAnswer` if the copy does not have it, with the same entries before it.
    """
    (index,) = db.execute("SELECT max(idx) FROM block").fetchone()
    try:
        start = read_start(copy, index)
    except InvalidProof as error:
        raise InvalidAnswer("index-other-history", f"{held.size}: {error}") from None
    _compare_root(held, ProvenTree(copy.read, copy.checkpoint).head(start.index).root())
    return start


class _Known(NamedTuple):
    """Numbers of an exchange and of the words for what it is about."""

    id: int
    requester: int
    provider: int
    dataset: int
    purpose: int
    legal_basis: int
    period_from: int
    period_to: int


_KNOWN = """
SELECT x.digest, x.id, e.requester, e.provider, e.dataset, e.purpose, e.legal_basis,
    e.period_from, e.period_to
FROM exchange x JOIN event e ON e.idx = x.idx
"""


class _Words:
    """Numbers of words; one that is new gets the next."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._known: dict[str, int] = {
            text: id_ for id_, text in db.execute("SELECT id, text FROM word")
        }
        self._new: list[tuple[int, str]] = []

    def number(self, text: str) -> int:
        """Number of a word."""
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = len(self._known) + 1
            self._new.append((found, text))
        return found

    def write(self, db: sqlite3.Connection) -> None:
        """Write what is new."""
        db.executemany("INSERT INTO word VALUES (?, ?)", self._new)
        self._new = []


class _Writer:
    """Follows the state block by block and writes what happened."""

    def __init__(
        self,
        db: sqlite3.Connection,
        states: sqlite3.Connection,
        copy: LogCopy,
        held: Covered | None,
    ) -> None:
        self._db, self._states, self._copy = db, states, copy
        self._last: BlockEntries | None = None
        self._changed = Changed()  # by this run
        if held is None:
            db.executescript(SCHEMA)
            states.executescript(STATE_SCHEMA)
            self._history = History(copy.genesis)
            pairs = list(self._history.state.pairs.items())
            states.executemany("INSERT INTO state VALUES (?, ?)", pairs)
            self._digest = StateDigest()
            self._digest.add_all(pairs)
        else:
            known = dict(states.execute("SELECT key, value FROM state"))
            self._history = History(copy.genesis, known)
            self._digest = StateDigest(held.accumulator)
        self._touched: set[bytes] = set()
        # Commitments come in no order: they are put in their places when all are there.
        states.execute("CREATE TEMP TABLE named (commitment BLOB, exchange INTEGER)")
        self._words = _Words(db)
        self._officers: dict[bytes, int] = dict(db.execute("SELECT key, id FROM officer"))
        self._exchanges: dict[bytes, _Known] = {
            digest: _Known(*numbers) for digest, *numbers in db.execute(_KNOWN)
        }

    def add(self, block: BlockEntries) -> None:
        """Execute a block and write its rows."""
        header = block.header
        happened = self._history.add(block)
        self._changed.add(self._history)
        self._db.execute(
            "INSERT INTO block VALUES (?, ?, ?)", (header.height, block.index, header.time_ms)
        )
        for each in happened:
            self._add_opening(each.index, each.event)
        for table, columns, row in (("event", 15, self._event), ("record", 7, self._record)):
            places = ", ".join("?" * columns)
            rows = [row(each) for each in happened]
            self._db.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 - our own names
        self._insert("policy", _policies(happened))
        self._insert("code", ((code, each.index) for each in happened for code in codes_of(each)))
        self._words.write(self._db)
        self._last = block

    def _insert(self, table: str, rows: Iterable[tuple[str, int]]) -> None:
        numbered = [(self._words.number(text), index) for text, index in rows]
        self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", numbered)  # noqa: S608 - our own names

    def _add_opening(self, index: int, event: Event) -> None:
        body = event.body
        if isinstance(body, IncidentReported):
            rows = [(exchange, index) for exchange in body.exchanges]
            self._db.executemany("INSERT INTO incident VALUES (?, ?)", rows)
        if not isinstance(body, ShareOpening):
            return
        number = self._words.number
        about = (*parties_of(event), body.dataset, body.purpose, body.legal_basis)
        id_ = len(self._exchanges) + 1
        days = map(number_of_day, (body.period_from, body.period_to))
        self._exchanges[event.digest] = _Known(id_, *map(number, about), *days)
        self._db.execute("INSERT INTO exchange VALUES (?, ?, ?)", (id_, event.digest, index))
        rows = [(commitment, id_) for commitment in body.subjects]
        self._states.executemany("INSERT INTO temp.named VALUES (?, ?)", rows)

    def _event(self, each: Happened) -> tuple[Any, ...]:
        event, number = each.event, self._words.number
        known = self._exchanges.get(event.exchange) if event.exchange else None
        about: tuple[int | None, ...] = (None, *[number("")] * 5, 0, 0, number(""))
        if known is not None:
            self._touched.add(event.exchange)
            about = (*known, number(NOT_OPENED))
        outcome = each.outcome
        return (
            each.index, number(event.kind), number(event.member), self._officer(event.officer),
            number(outcome.decision), *about, bool(outcome.decision or outcome.policies),
        )  # fmt: skip

    def _record(self, each: Happened) -> tuple[Any, ...]:
        event, outcome, number = each.event, each.outcome, self._words.number
        return (
            each.index, each.height, number(self._roles(event.officer)), outcome.applied,
            number(outcome.code), number(outcome.policy_set.hex()), event.digest,
        )  # fmt: skip

    def _officer(self, key: bytes) -> int:
        known = self._officers.get(key)
        if known is None:
            known = self._officers[key] = len(self._officers) + 1
            row = (known, key, fingerprint(key))
            self._db.execute("INSERT INTO officer VALUES (?, ?, ?)", row)
        return known

    def _roles(self, officer: bytes) -> str:
        """Roles of an officer before the block; changes of a block count after it."""
        key, history = officer_key(officer), self._history
        replaced = key in history.replaced
        data = history.replaced[key] if replaced else history.state.pairs.get(key)
        return "" if data is None else ",".join(OFFICERS.decode(data).roles)

    def finish(self) -> None:
        """Check the state and write it, and how far the index reaches now."""
        pairs = self._history.state.pairs
        self._changed.count(self._digest, self._history.state)
        changed = [(key, pairs[key]) for key in self._changed.before]
        self._states.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", changed)
        self._states.execute(
            "INSERT OR IGNORE INTO subject SELECT * FROM temp.named ORDER BY commitment, exchange"
        )
        self._db.executescript(SEARCH_SCHEMA)
        self._write_statuses()
        write_covered(self._db, self._cover())

    def _write_statuses(self) -> None:
        """The state that exchanges are in now, at each of their events."""
        keys = (key for key in self._changed.before if key.startswith(_EXCHANGES))
        changed = {key.removeprefix(_EXCHANGES) for key in keys}
        rows = []
        for digest in sorted(changed | self._touched):
            data = self._history.state.pairs.get(exchange_key(digest))
            if data is not None:
                status = self._words.number(EXCHANGES.decode(data).status)
                rows.append((status, self._exchanges[digest].id))
        self._words.write(self._db)
        self._db.executemany("UPDATE event SET status = ? WHERE exchange = ?", rows)

    def _cover(self) -> Covered:
        """How far the index reaches. The state there has the digest in the header."""
        last, checkpoint = self._last, self._copy.checkpoint
        if last is not None:
            verify_state(last, self._digest)
        return Covered(
            network=self._copy.network,
            size=checkpoint.size,
            root=checkpoint.root,
            height=0 if last is None else last.header.height,
            time_ms=self._copy.genesis.time_ms if last is None else last.header.time_ms,
            accumulator=self._digest.encode(),
        )


def parties_of(event: Event) -> tuple[str, str]:
    """Requester and provider of an event that opens an exchange."""
    body = event.body
    if isinstance(body, ShareOffered):
        return body.recipient, event.member
    assert isinstance(body, ShareRequested), "only these two open an exchange"
    return event.member, body.provider


def codes_of(happened: Happened) -> tuple[str, ...]:
    """Codes by which a record is found: of its refusal, its status codes, the reason it names."""
    body = happened.event.body
    reason: str = getattr(body, "reason", "")
    codes = map(str, getattr(body, "codes", ()))
    return tuple(filter(None, (happened.outcome.code, reason, *codes)))


def _policies(happened: Iterable[Happened]) -> Iterator[tuple[str, int]]:
    for each in happened:
        yield from ((policy, each.index) for policy in each.outcome.policies)
