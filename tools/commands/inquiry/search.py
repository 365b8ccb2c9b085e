"""`tally audit search` and `tally audit decisions`: records of a copy that fit some filters."""

import csv
import datetime as dt
import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

import click
import msgspec

from contracts.lifecycle import STATUSES
from contracts.words import decision_word, kind_word
from ledger.blocks import Decided
from ledger.errors import InvalidKey
from ledger.events import BODY_TYPES
from ledger.keys import parse_public_key
from ledger.scalars import Date, Identifier
from tools.audit.index.asking import Found, Page, Query, count_decisions, search
from tools.audit.period import make_period
from tools.commands.inquiry.opening import (
    Command,
    Source,
    cover_document,
    cover_line,
    source_options,
)
from tools.exits import InvalidInput, InvalidUsage
from tools.options import WordCommand, option
from tools.output import emit, format_table, note, printable, tell_time
from tools.words import language, say

LIMIT_MAX = 10_000
INDEX_MAX = 2**62
DIGITS_SHOWN = 12
VERDICTS = tuple(filter(None, get_args(Decided)))
KINDS = frozenset(kind for kind, _ in BODY_TYPES)
_FINGERPRINT = re.compile(r"[0-9a-f]{16}\Z")
_COLUMNS = ("index", "time", "kind", "member", "pair", "about", "outcome", "exchange")


def filter_options(function: Command) -> Command:
    """Filters that searches share; the function gets a `Query`."""

    @functools.wraps(function)
    def wrapped(pair: tuple[str, str] | None, **values: Any) -> Any:
        given = {name: values.pop(name) or "" for name in _FILTERS}
        days = {name: values.pop(name) for name in _DAYS}
        query = read_query(given, pair or (), days)
        return function(query=query, **values)

    decorated: Command = wrapped
    for name, (flag, kind) in reversed(_DAYS.items()):
        decorated = option(flag, name, help=kind)(decorated)
    for name, (flag, key, values) in reversed(_FILTERS.items()):
        chosen = click.Choice(values) if values else None
        decorated = option(flag, name, type=chosen, help=key)(decorated)
    return option("--pair", nargs=2, help="option.search_pair")(decorated)


# Name of the filter: option, its help, its values if they are few.
_FILTERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "party": ("--party", "option.search_party", ()),
    "dataset": ("--dataset", "option.search_dataset", ()),
    "purpose": ("--purpose", "option.search_purpose", ()),
    "legal_basis": ("--legal-basis", "option.search_legal_basis", ()),
    "contract": ("--contract", "option.search_contract", ()),
    "decision": ("--decision", "option.search_decision", VERDICTS),
    "code": ("--code", "option.search_code", ()),
    "officer": ("--officer", "option.search_officer", ()),
    "status": ("--status", "option.search_status", STATUSES),
    "kind": ("--kind", "option.search_kind", ()),
}
_DAYS = {
    "since": ("--from", "option.search_from"),
    "until": ("--to", "option.search_to"),
    "data_from": ("--data-from", "option.search_data_from"),
    "data_until": ("--data-to", "option.search_data_to"),
}


def read_query(given: dict[str, Any], pair: tuple[str, ...], days: dict[str, str | None]) -> Query:
    """Filters as they are typed. Raises `InvalidInput` for one that nothing could ever fit."""
    officer = given.pop("officer")
    kind = given.get("kind")
    if kind and kind not in KINDS:
        raise InvalidInput("filter-invalid", f"--kind {kind}: {', '.join(sorted(KINDS))}")
    for name, text in (*given.items(), *(("pair", each) for each in pair)):
        if text and name not in ("kind", "status"):
            _check(f"--{name.replace('_', '-')}", text, Identifier)
    for name, day in days.items():
        if day is not None:
            _check_day(_DAYS[name][0], day)
    period = make_period(days["since"], days["until"])
    make_period(days["data_from"], days["data_until"])  # in order too
    requester, provider = pair or ("", "")
    return Query(
        **given,
        officer=_read_officer(officer),
        requester=requester,
        provider=provider,
        since_ms=period.start_ms,
        until_ms=period.end_ms,
        data_from=days["data_from"] or "",
        data_until=days["data_until"] or "",
    )


def _check(flag: str, text: str, type_: Any) -> None:
    try:
        msgspec.convert(text, type_)
    except msgspec.ValidationError as error:
        raise InvalidInput("filter-invalid", f"{flag} {text}: {error}") from None


def _check_day(flag: str, day: str) -> None:
    try:
        dt.date.fromisoformat(msgspec.convert(day, Date))
    except ValueError:
        raise InvalidInput("filter-invalid", f"{flag} {day}") from None


def _read_officer(text: str) -> bytes | str:
    if not text or _FINGERPRINT.match(text):
        return text
    try:
        return parse_public_key(text)
    except InvalidKey:
        raise InvalidInput("filter-invalid", f"--officer {text}") from None


def page_options(function: Command) -> Command:
    """Options of answers in pages."""
    limit, index = click.IntRange(1, LIMIT_MAX), click.IntRange(0, INDEX_MAX)
    decorated = option("--csv", "as_csv", is_flag=True, help="option.csv")(function)
    decorated = option("--after", type=index, help="option.search_after")(decorated)
    return option("--limit", type=limit, default=50, help="option.search_limit")(decorated)


@click.command("search", cls=WordCommand, help="help.audit_search")
@source_options
@page_options
@filter_options
def search_records(
    source: Source, query: Query, limit: int, after: int | None, as_csv: bool, as_json: bool
) -> None:
    """List records that fit all filters."""
    _answer(source, query, limit, after, as_csv, as_json, None)


@click.command("decisions", cls=WordCommand, help="help.audit_decisions")
@source_options
@page_options
@filter_options
def decisions(
    source: Source, query: Query, limit: int, after: int | None, as_csv: bool, as_json: bool
) -> None:
    """List decisions with the contracts that determined them, and how often each did."""
    query = replace(query, is_decided=True)
    _answer(source, query, limit, after, as_csv, as_json, _count_table)


def _answer(
    source: Source,
    query: Query,
    limit: int,
    after: int | None,
    as_csv: bool,
    as_json: bool,
    summary: Callable[[list[tuple[str, str, int]]], str] | None,
) -> None:
    if as_csv and as_json:
        raise InvalidUsage("usage-invalid", "--csv --json")
    with source.open(with_state=False) as index:
        page = search(index, query, after=-1 if after is None else after, limit=limit)
        counts = [] if summary is None else count_decisions(index, query)
        covered, foot = cover_document(index), cover_line(index)
    if page.unknown:
        note(printable(say("search.unknown", words=", ".join(page.unknown))))
    if as_csv:
        click.echo(_csv(page.rows), nl=False)
        return
    document: dict[str, Any] = {
        **covered, "total": page.total, "next_after": page.following, "unknown": page.unknown,
        "records": page.rows,
    }  # fmt: skip
    parts = [_table(page), foot]
    if summary is not None:
        document["contracts"] = [
            {"contract": contract, "decision": decision, "count": count}
            for contract, decision, count in counts
        ]
        parts.insert(1, summary(counts))
    emit(as_json, document, "\n".join(filter(None, parts)))


def _table(page: Page) -> str:
    lines = []
    if page.rows:
        head = [say(f"column.{name}") for name in _COLUMNS]
        lines.append(printable(format_table(head, [_cells(row) for row in page.rows])))
    lines.append(say("search.found", shown=len(page.rows), total=page.total))
    if page.following is not None:
        lines.append(say("search.more", after=page.following))
    return "\n".join(lines)


def _cells(row: Found) -> list[str]:
    return [
        str(row.index),
        tell_time(row.time_ms),
        kind_word(row.kind, language()),
        row.member,
        f"{row.requester} → {row.provider}" if row.requester else "",
        " · ".join(filter(None, (row.dataset, row.purpose, row.legal_basis))),
        tell_outcome(row.applied, row.code, row.decision),
        row.exchange[:DIGITS_SHOWN],
    ]


def tell_outcome(applied: bool, code: str, decision: str) -> str:
    """What became of an event, in a word or two."""
    word = decision_word(decision, language()) if decision else say("word.applied")
    if applied:
        return word
    return f"{word if decision else say('word.refused')} ({code})"


def _count_table(counts: list[tuple[str, str, int]]) -> str:
    head = [say(f"column.{name}") for name in ("contract", "decision", "count")]
    rows = [
        [contract or "-", tell_outcome(True, "", decision), f"{count:,}"]
        for contract, decision, count in counts
    ]
    return format_table(head, rows) if rows else ""


def _csv(rows: Sequence[Found]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(Found.__struct_fields__)
    writer.writerows(_csv_cells(row) for row in rows)
    return out.getvalue()


def _csv_cells(row: Found) -> Iterator[Any]:
    for name in Found.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, bool):
            yield str(value).lower()
        else:
            yield " ".join(value) if isinstance(value, tuple) else value
