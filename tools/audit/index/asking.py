"""Search: the records of a log that fit all of some filters, in pages.

A page begins behind an index of the log, so it stays the same page when the log grows.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from ledger.keys import format_public_key
from tools.audit.index.tables import Index, number_of_day

# Filters with a column of the same name.
_COLUMNS = (
    "kind", "decision", "requester", "provider", "dataset", "purpose", "legal_basis", "status"
)  # fmt: skip
# Filters by words of our own, which exist also where a log has none of them.
_FIXED = ("kind", "decision", "status")
_LISTS = {
    "contract": "idx IN (SELECT idx FROM policy WHERE id = ?)",
    "code": "idx IN (SELECT idx FROM code WHERE id = ?)",
}
_OFFICERS = {
    bytes: "SELECT id FROM officer WHERE key = ?",
    str: "SELECT id FROM officer WHERE fingerprint = ?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for; an empty filter fits everything.

    `party` acted itself or is one of the two of the exchange. `officer` is a public key as in the
    ledger, or the fingerprint of one. `since_ms` and `until_ms` bound the block time (the latter
    is outside), `data_from` and `data_until` the period that the exchange asks for: it overlaps.
    `is_decided`: contracts were asked.
    """

    party: str = ""
    requester: str = ""
    provider: str = ""
    dataset: str = ""
    purpose: str = ""
    legal_basis: str = ""
    status: str = ""
    kind: str = ""
    decision: str = ""
    contract: str = ""
    code: str = ""
    officer: bytes | str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    data_from: str = ""
    data_until: str = ""
    is_decided: bool = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One record. What the exchange is about is empty where there is none."""

    index: int
    height: int
    time_ms: int
    kind: str
    member: str
    officer: str
    roles: str
    applied: bool
    code: str
    decision: str
    contracts: tuple[str, ...]
    event: str
    exchange: str
    requester: str
    provider: str
    dataset: str
    purpose: str
    legal_basis: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the `total` records that fit; `following` is the index behind which more stand.

    `unknown`: words asked for that no record of the log has.
    """

    rows: tuple[Found, ...]
    total: int
    following: int | None
    unknown: tuple[str, ...] = ()


def search(index: Index, query: Query, *, after: int = -1, limit: int) -> Page:
    """The records behind entry `after` that fit, in the order of the log."""
    filters = _Filters(index.db, query)
    if filters.is_nothing:
        return Page(rows=(), total=0, following=None, unknown=tuple(filters.unknown))
    (total,) = index.db.execute(filters.sql("count(*)"), filters.values).fetchone()
    asked = f"{filters.sql('idx')} AND idx > ? ORDER BY idx LIMIT ?"
    found = [idx for (idx,) in index.db.execute(asked, (*filters.values, after, limit + 1))]
    following = found[limit - 1] if len(found) > limit else None
    return Page(
        rows=tuple(describe_records(index.db, found[:limit])), total=total, following=following
    )


def count_decisions(index: Index, query: Query) -> list[tuple[str, str, int]]:
    """How often each contract determined which decision; the empty contract: none did."""
    filters = _Filters(index.db, query)
    if filters.is_nothing:
        return []
    # Policies come by their key, not by record: the records are looked up for them.
    decided_by = "(SELECT id AS policy, idx AS at FROM policy) CROSS JOIN event ON idx = at"
    counted = f"""
        SELECT w.text, d.text, n FROM (
            {filters.sql("policy, decision, count(*) AS n", decided_by)} GROUP BY 1, 2 UNION ALL
            {filters.sql("0, decision, count(*)")} AND idx NOT IN (SELECT idx FROM policy)
            GROUP BY 2
        ) LEFT JOIN word w ON w.id = policy JOIN word d ON d.id = decision ORDER BY 1, 2
    """  # noqa: S608 - see the class
    rows = index.db.execute(counted, (*filters.values, *filters.values))
    return [(contract or "", decision, count) for contract, decision, count in rows]


class _Filters:
    """A query as SQL. Values are bound; names of columns are our own."""

    def __init__(self, db: sqlite3.Connection, query: Query) -> None:
        self._db = db
        self._clauses: list[str] = []
        self.values: list[object] = []
        self.is_nothing = False
        self.unknown: list[str] = []
        for name in _COLUMNS:
            if word := getattr(query, name):
                self._add(f"{name} = ?", self._word(word, is_fixed=name in _FIXED))
        for clause, day in (
            ("period_to >= ?", query.data_from),
            ("period_from <= ? AND period_from > 0", query.data_until),
        ):
            if day:
                self._add(clause, number_of_day(day))
        if query.is_decided:
            self._add("decided")
        for name, clause in _LISTS.items():
            if word := getattr(query, name):
                self._add(clause, self._word(word))
        if query.party:
            party = self._word(query.party)
            self._add("(member = ? OR requester = ? OR provider = ?)", party, party, party)
        if query.officer:
            self._add_officer(query.officer)
        for sign, time_ms in ((">=", query.since_ms), ("<", query.until_ms)):
            if time_ms is not None:
                self._add(f"idx {sign} ?", self._first_at(time_ms))

    def sql(self, columns: str, source: str = "event") -> str:
        """The statement that selects `columns` of the records that fit, of these or all."""
        return f"SELECT {columns} FROM {source} WHERE {' AND '.join(self._clauses) or '1'}"  # noqa: S608 - see the class

    def _add(self, clause: str, *values: object) -> None:
        self._clauses.append(clause)
        self.values += values

    def _add_officer(self, officer: bytes | str) -> None:
        asked = _OFFICERS[type(officer)]
        if self._db.execute(asked, (officer,)).fetchone() is None:
            self.is_nothing = True
            text = format_public_key(officer) if isinstance(officer, bytes) else officer
            self.unknown.append(text)
        self._add(f"officer IN ({asked})", officer)

    def _word(self, text: str, *, is_fixed: bool = False) -> int:
        row = self._db.execute("SELECT id FROM word WHERE text = ?", (text,)).fetchone()
        if row is None:
            self.is_nothing = True
            self.unknown += [] if is_fixed else [text]
            return 0
        number: int = row[0]
        return number

    def _first_at(self, time_ms: int) -> int:
        """Index of the first entry with a block time of at least `time_ms`, or the end."""
        asked = "SELECT min(idx) FROM block WHERE time_ms >= ?"
        (found,) = self._db.execute(asked, (time_ms,)).fetchone()
        return 2**62 if found is None else int(found)


_RECORD = """
SELECT r.height, b.time_ms, k.text, m.text, o.fingerprint, i.text, r.applied, c.text, d.text,
    r.digest, x.digest, q.text, p.text, s.text, u.text, l.text, t.text
FROM event e JOIN record r ON r.idx = e.idx JOIN block b ON b.height = r.height
    JOIN word k ON k.id = e.kind JOIN word m ON m.id = e.member JOIN officer o ON o.id = e.officer
    JOIN word i ON i.id = r.roles JOIN word c ON c.id = r.code JOIN word d ON d.id = e.decision
    JOIN word q ON q.id = e.requester JOIN word p ON p.id = e.provider
    JOIN word s ON s.id = e.dataset JOIN word u ON u.id = e.purpose
    JOIN word l ON l.id = e.legal_basis JOIN word t ON t.id = e.status
    LEFT JOIN exchange x ON x.id = e.exchange
WHERE e.idx = ?
"""
_POLICIES = """
SELECT w.text FROM policy JOIN word w ON w.id = policy.id WHERE policy.idx = ? ORDER BY w.text
"""


def describe_records(db: sqlite3.Connection, indexes: Iterable[int]) -> list[Found]:
    """What the index knows of records."""
    return [_describe(db, idx) for idx in indexes]


def _describe(db: sqlite3.Connection, idx: int) -> Found:
    row = db.execute(_RECORD, (idx,)).fetchone()
    (height, time_ms, kind, member, officer, roles, applied, code, decision, digest, exchange,
     requester, provider, dataset, purpose, legal_basis, status) = row  # fmt: skip
    return Found(
        index=idx,
        height=height,
        time_ms=time_ms,
        kind=kind,
        member=member,
        officer=officer,
        roles=roles,
        applied=bool(applied),
        code=code,
        decision=decision,
        contracts=tuple(name for (name,) in db.execute(_POLICIES, (idx,))),
        event=digest.hex(),
        exchange="" if exchange is None else exchange.hex(),
        requester=requester,
        provider=provider,
        dataset=dataset,
        purpose=purpose,
        legal_basis=legal_basis,
        status=status,
    )
