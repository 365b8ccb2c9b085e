"""Messages of the reporting standard as payloads: checked by either side, and never changed.

    provider    connector -> memory -> schema, rules -> references for the ledger -> sealed as it is
    requester   sealed -> memory -> schema, rules -> references against the ledger -> status message

A message is read several times, so all of it is kept while that is done: in memory, never on disk.
Needs the extra `[crs]`, so this module is imported when the first message is to be looked at.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from node.connectors.interface import Connector
from node.crs.check import Finding, check_file
from node.crs.check import Report as Found
from node.crs.codes import FILE_CODES, GROUNDS
from node.crs.errors import InvalidStatus
from node.crs.message import Header
from node.crs.references import ReferenceKey, read_key, walk_references
from node.crs.rules import Setting
from node.crs.schemas import load_schema
from node.crs.status import make_status, read_status, write_status
from node.gateway.jobs import Failed, Named, name_more
from node.gateway.work.check import CODE_SET, CUSTOM, DOWNLOAD, Payload, code_of
from node.gateway.work.prepare import (
    BLIND_INFO,
    make_ask,
    make_prepared,
    payload_context,
    seal_into,
    write_whole,
)
from node.gateway.work.tasks import (
    About,
    Check,
    Checked,
    Messages,
    Prepare,
    Prepared,
    ReadAnswer,
    Setup,
    Stops,
)
from node.records.report import Report, RuleCount
from node.sealing.errors import InvalidPayload
from node.sealing.keys import DecryptionKey, seal_to
from node.sealing.sealer import Sealer

MESSAGE_BYTES_MAX = 256 * 1024 * 1024
PIECE_BYTES = 1 << 20
TEXT_CHARS_MAX = 500
LINES_SHOWN = 5

Tell = Callable[[int], None]


def references_path(sealed: Path) -> Path:
    """Where it is kept what is to be named of a message: a body a line, as JSON."""
    return sealed.with_suffix(".references")


def find_settings(setup: Setup, dataset: str) -> Messages:
    """How messages of a dataset are checked here. Raises `Failed`."""
    found = setup.messages.get(dataset)
    if found is None:
        raise Failed("message-settings-missing", dataset, retry=False)
    return found


def probe(setup: Setup, dataset: str) -> None:
    """Look whether schema and keys can be used. Raises `CrsError`, `OSError`, `Failed`."""
    settings = find_settings(setup, dataset)
    load_schema(Path(setup.base) / settings.schema)
    _read_keys(setup, settings)


def prepare(
    setup: Setup,
    keys: Sequence[DecryptionKey],
    connector: Connector,
    task: Prepare,
    tell: Tell,
) -> Prepared:
    """Check a message, write down what is to be named of it, and seal it byte for byte.

    Raises what connector and sealing raise, `CrsError`, and `Failed`.
    """
    about, settings = task.about, find_settings(setup, task.about.dataset)
    source = connector.read(make_ask(setup, keys, task))
    try:
        if source.format != "message":
            raise Failed("source-form", source.format, retry=False)
        with _memory() as (file, path):
            _fill(file, source.pieces, tell)
            found = _look(setup, settings, path, task.receiving, tell)
            _verify(found, about, settings)
            batches = _references(setup, settings, found, path, tell)
            write_whole(references_path(Path(task.path)), lambda out: _write_lines(out, batches))
            sealer = Sealer(task.recipient, payload_context(setup.network, about))
            _, size_bytes = write_whole(
                Path(task.path), lambda out: _seal_whole(out, sealer, file, tell)
            )
    finally:
        connector.close()
    report = _quality(found, about, task.rules.version)
    return make_prepared(
        sealer,
        report,
        size_bytes,
        keys,
        record_count=found.records,
        exchange=about.exchange,
        message=batches[0]["message"] if batches else "",
    )


def check(setup: Setup, keys: Sequence[DecryptionKey], task: Check, tell: Tell) -> Checked:
    """The verdict about a message, and the status message for its sender.

    Raises `CrsError` and `Failed` where this agency cannot judge.
    """
    about, settings = task.about, find_settings(setup, task.about.dataset)
    with _memory() as (file, path):
        try:
            context = payload_context(setup.network, about)
            payload = Payload(keys, context, Path(task.path), task.commitment)
            _fill(file, payload.pieces(), tell)
        except InvalidPayload as error:
            return _unreadable(settings, task, code_of(error), str(error))
        except FileNotFoundError:
            return _unreadable(settings, task, DOWNLOAD, "the file is gone")
        except Failed as error:
            return _unreadable(settings, task, CUSTOM, error.code)
        found = _look(setup, settings, path, task.receiving, tell)
        others = _differences(setup, settings, found, path, task, tell)
    codes = found.codes if _stops(found, settings.rejects) else ()
    if others:
        codes = tuple(sorted({*codes, CUSTOM}))
        found = _with_custom(found)
    text = "; ".join(filter(None, (_summary(found), *others)))
    return Checked(
        codes=codes,
        text=text[:TEXT_CHARS_MAX],
        blind=seal_to(keys[0].public, payload.blind, BLIND_INFO + about.exchange),
        plain_bytes=payload.plain_bytes,
        answer=_answer(settings, task, found, is_rejected=bool(codes)),
    )


def read_answer(task: ReadAnswer) -> None:
    """Raises `InvalidStatus` for what is no status message."""
    read_status(task.document)


@contextmanager
def _memory() -> Iterator[tuple[BinaryIO, Path]]:
    """A file that is on no disk, and its path in this process."""
    descriptor = os.memfd_create("message", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "r+b") as file:
        yield file, Path(f"/proc/self/fd/{descriptor}")


def _fill(file: BinaryIO, pieces: Iterable[bytes], tell: Tell) -> None:
    size_bytes = 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > MESSAGE_BYTES_MAX:
            raise Failed("message-large", f"> {MESSAGE_BYTES_MAX:,} B", retry=False)
        file.write(piece)
        tell(size_bytes)
    file.flush()


def _look(setup: Setup, settings: Messages, path: Path, receiving: str, tell: Tell) -> Found:
    schema = load_schema(Path(setup.base) / settings.schema)
    setting = Setting(receiving=receiving, environment=settings.environment)
    return check_file(path, schema, setting, tell=lambda: tell(0))


def _stops(found: Found, stops: Stops) -> bool:
    if stops == "any":
        return bool(found.codes)
    grounds = GROUNDS if stops == "listed" else frozenset[int]()
    return any(code in FILE_CODES or code in grounds for code in found.codes)


def _verify(found: Found, about: About, settings: Messages) -> None:
    """What this agency would have to take back does not leave it. Raises `Failed`."""
    if _stops(found, settings.holds):
        raise Failed("message-faulty", _summary(found), retry=False)
    if not _is_of_period(found, about):
        raise Failed("message-period", found.header.period[:10], retry=False)


def _is_of_period(found: Found, about: About) -> bool:
    """Whether the reporting period ends within the period that may be exchanged."""
    return about.period_from <= found.header.period[:10] <= about.period_to


def _differences(
    setup: Setup, settings: Messages, found: Found, path: Path, task: Check, tell: Tell
) -> list[str]:
    """What is otherwise than the ledger says; of a file that is wrong as a whole, nothing."""
    if found.is_rejected:
        return []
    texts = []
    if found.records != task.record_count:
        texts.append(f"records: {found.records}, on the ledger {task.record_count}")
    if not _is_of_period(found, task.about):
        texts.append(f"message-period: {found.header.period[:10]}")
    named: Named | None = None
    for batch in _references(setup, settings, found, path, tell):
        named = name_more(named, batch)
    if _identity(named) != _identity(task.named):
        texts.append("references-differ")
    return texts


def _identity(named: Named | None) -> tuple[str, bytes]:
    return ("", b"") if named is None else (named.message, named.digest)


def _references(
    setup: Setup, settings: Messages, found: Found, path: Path, tell: Tell
) -> list[dict[str, Any]]:
    if not found.records:
        return []
    year = found.header.period[:4]
    key = next((key for key in _read_keys(setup, settings) if key.year == year), None)
    if key is None:
        raise Failed("reference-key-missing", year, retry=False)
    return list(walk_references(path, key, lambda: tell(0)))


def _read_keys(setup: Setup, settings: Messages) -> list[ReferenceKey]:
    return [read_key(Path(setup.base) / name) for name in settings.reference_keys]


def _write_lines(out: BinaryIO, batches: Iterable[dict[str, Any]]) -> None:
    out.writelines(json.dumps(batch, sort_keys=True).encode() + b"\n" for batch in batches)


def _seal_whole(out: BinaryIO, sealer: Sealer, file: BinaryIO, tell: Tell) -> None:
    out.write(sealer.header)
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        seal_into(out, sealer, piece)
        tell(file.tell())
    out.write(sealer.finish())


def _lines_of(found: Found, code: int) -> list[int]:
    return [each.line for each in found.findings if each.code == code]


def _summary(found: Found) -> str:
    """Codes with how often and in which lines, without values: `60002 x 2 (lines 7, 9)`."""
    parts = []
    for code in found.codes:
        lines = _lines_of(found, code)
        shown = ", ".join(str(line) for line in lines[:LINES_SHOWN] if line)
        parts.append(f"{code} x {len(lines)}" + (f" (lines {shown})" if shown else ""))
    return "; ".join(parts)[:TEXT_CHARS_MAX]


def _quality(found: Found, about: About, version: int) -> Report:
    """The quality report of a message: its findings by code, whose rows are lines."""
    rules = []
    for code in found.codes:
        lines = _lines_of(found, code)
        rules.append(
            RuleCount(
                rule=f"oecd-{code}",
                severity="warn",
                field="",
                count=len(lines),
                rows=tuple(lines[:LINES_SHOWN]),
            )
        )
    return Report(
        version=1,
        dataset=about.dataset,
        schema_version=version,
        fields=tuple(sorted(about.fields)),
        rows=found.records,
        accepted=found.records,
        rejected=0,
        duplicates=0,
        fixed=0,
        warned=len(found.findings) + found.more,
        rules=tuple(rules),
    )


def _with_custom(found: Found) -> Found:
    other = Finding(code=CUSTOM, line=0, document_id="", reason="")
    codes = tuple(sorted({*found.codes, CUSTOM}))
    return replace(found, findings=(*found.findings, other), codes=codes)


def _unreadable(settings: Messages, task: Check, code: int, text: str) -> Checked:
    """A payload of which no message can be had."""
    finding = Finding(code=code, line=0, document_id="", reason="")
    found = Found(records=0, findings=(finding,), more=0, codes=(code,), header=Header())
    answer = _answer(settings, task, found, is_rejected=True)
    return Checked(codes=(code,), text=text[:TEXT_CHARS_MAX], answer=answer)


def _answer(settings: Messages, task: Check, found: Found, *, is_rejected: bool) -> bytes:
    """The status message; a message that does not tell its id has that of its exchange."""
    about, head = task.about, found.header
    year = (head.period or about.period_to)[:4]
    number = f"{about.exchange.hex()}.{about.correction}"
    try:
        status = make_status(
            found,
            original_id=head.message_id or about.exchange.hex(),
            transmitting=task.receiving,
            receiving=task.transmitting,
            message_id=f"{task.receiving}{year}{task.transmitting}{number}",
            timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            language=settings.language,
            code_set=CODE_SET,
            is_rejected=is_rejected,
        )
        return write_status(status)
    except InvalidStatus:
        # Ids that no status message can hold: the codes on the ledger must do.
        return b""
