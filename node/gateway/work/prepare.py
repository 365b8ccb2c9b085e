"""Connector -> pipeline -> sealed file: in one pass, in little memory.

The file appears under its name when all of it is written, or not at all, and is on disk when the
work is done.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from node.connectors.durable import sync_all
from node.connectors.interface import Ask, Connector, Source, Subject
from node.gateway.jobs import Failed
from node.gateway.work.question import open_question, question_context
from node.gateway.work.rules import permitted_fields, read_rules
from node.gateway.work.tasks import About, Prepare, Prepared, Setup
from node.records.pipeline import Options, Pipeline
from node.records.report import Report, encode_report, hash_report
from node.sealing.format import Context
from node.sealing.keys import DecryptionKey, seal_to
from node.sealing.sealer import Sealer

BLIND_INFO = b"tallystick/blind/v1\0"
T = TypeVar("T")


def payload_context(network: bytes, about: About) -> Context:
    """What a payload is sealed for."""
    return Context(
        network=network,
        exchange=about.exchange,
        requester=about.requester,
        provider=about.provider,
        dataset=about.dataset,
    )


def partial_path(path: Path) -> Path:
    """Where a sealed file is while it is written."""
    return path.with_name(path.name + ".partial")


def prepare(
    setup: Setup,
    keys: Sequence[DecryptionKey],
    connector: Connector,
    task: Prepare,
    tell: Callable[[int], None],
) -> Prepared:
    """Make the payload of an exchange. Raises what connector, pipeline and sealing raise."""
    about = task.about
    fields = permitted_fields(about)
    source = connector.read(make_ask(setup, keys, task))
    if source.format == "message":
        raise Failed("source-form", source.format, retry=False)
    schema, codes = read_rules(about.dataset, task.rules)
    pipeline = Pipeline(
        about.dataset,
        schema,
        codes,
        options=Options(
            format=source.format,
            encoding=source.encoding,
            amounts=source.amounts,
            fields=fields,
            schema_version=task.rules.version,
        ),
    )
    sealer = Sealer(task.recipient, payload_context(setup.network, about))
    try:
        report, size_bytes = write_whole(
            Path(task.path), lambda out: _write(out, sealer, source, pipeline, tell)
        )
    finally:
        # A source that was not read to its end is let go of now, not when memory is short.
        connector.close()
    return make_prepared(
        sealer, report, size_bytes, keys, record_count=report.accepted, exchange=about.exchange
    )


def make_prepared(
    sealer: Sealer,
    report: Report,
    size_bytes: int,
    keys: Sequence[DecryptionKey],
    *,
    record_count: int,
    exchange: bytes,
    message: str = "",
) -> Prepared:
    """What is told of a sealed payload; its blind is sealed to the own key."""
    return Prepared(
        commitment=sealer.commitment,
        record_count=record_count,
        size_bytes=size_bytes,
        quality_digest=hash_report(report),
        report=encode_report(report),
        blind=seal_to(keys[0].public, sealer.blind, BLIND_INFO + exchange),
        message=message,
    )


def make_ask(setup: Setup, keys: Sequence[DecryptionKey], task: Prepare) -> Ask:
    """What the connector is asked for. Raises what opening the question raises."""
    about = task.about
    subjects: tuple[tuple[str, bytes], ...] = ()
    if task.subjects:
        context = question_context(setup.network, about, setup.member)
        subjects = open_question(keys, context, task.question, task.subjects)
    return Ask(
        exchange=about.exchange,
        dataset=about.dataset,
        requester=about.requester,
        purpose=about.purpose,
        fields=about.fields,
        period_from=about.period_from,
        period_to=about.period_to,
        subjects=tuple(Subject(kind="", id=id_) for id_, _ in subjects),
    )


def write_whole(path: Path, fill: Callable[[BinaryIO], T]) -> tuple[T, int]:
    """What `fill` gives, and the size of the file that it has filled, which is durable then."""
    partial = partial_path(path)
    try:
        with _create(partial) as out:
            filled = fill(out)
        size_bytes = partial.stat().st_size
        partial.replace(path)
    except BaseException:
        # What is unfinished only takes room.
        partial.unlink(missing_ok=True)
        raise
    sync_all((path, path.parent))
    return filled, size_bytes


def _write(
    out: BinaryIO,
    sealer: Sealer,
    source: Source,
    pipeline: Pipeline,
    tell: Callable[[int], None],
) -> Report:
    """Everything through the pipeline, sealed."""
    out.write(sealer.header)
    for piece in source.pieces:
        seal_into(out, sealer, pipeline.feed(piece))
        tell(pipeline.rows)
    tail, report = pipeline.finish()
    _verify_report(report)
    seal_into(out, sealer, tail)
    out.write(sealer.finish())
    return report


def seal_into(out: BinaryIO, sealer: Sealer, data: bytes) -> None:
    """More of the plaintext; chunks that are full are written."""
    sealer.receive(data)
    while (chunk := sealer.next_chunk()) is not None:
        out.write(chunk)


def _verify_report(report: Report) -> None:
    """A source of which no row is usable is a fault to mend, not an answer to send."""
    if report.rows and not report.accepted:
        worst = ", ".join(f"{row.rule} {row.field} x {row.count}" for row in report.rules[:5])
        raise Failed("records-all-rejected", f"{report.rows} rows: {worst}", retry=False)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
