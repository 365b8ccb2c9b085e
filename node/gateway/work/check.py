"""A fetched payload against the ledger and the schema: whether it is what it says, and usable.

The plaintext passes through memory in pieces and is gone; what the verdict is, the requester puts
on the ledger. Codes are those of the OECD's status message where one fits (`oecd-crs-sm-3.0`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from node.gateway.jobs import Failed
from node.gateway.work.prepare import BLIND_INFO, payload_context
from node.gateway.work.question import choose_key
from node.gateway.work.rules import permitted_fields, read_rules
from node.gateway.work.tasks import About, Check, Checked, Setup
from node.records.errors import InvalidSource
from node.records.pipeline import Options, Pipeline
from node.records.report import Report
from node.sealing.errors import InvalidPayload
from node.sealing.format import HEADER_BYTES, Context
from node.sealing.keys import DecryptionKey, seal_to
from node.sealing.opener import Opener

CODE_SET = "oecd-crs-sm-3.0"
PIECE_BYTES = 1 << 20

DOWNLOAD, DECRYPTION, SIGNATURE, SCHEMA, CUSTOM = 50001, 50002, 50004, 50007, 99999
# Which status code says why a payload could not be opened.
_PAYLOAD_CODES = {
    "sealed-unknown": DOWNLOAD,
    "sealed-truncated": DOWNLOAD,
    "sealed-extended": DOWNLOAD,
    "sealed-chunk-damaged": DOWNLOAD,
    "sealed-too-large": DOWNLOAD,
    "sealed-commitment-wrong": SIGNATURE,
}
# Which status code says what is wrong with a record; all other rules are faults of the schema.
_RULE_CODES = {"iban": 60000}


def code_of(error: InvalidPayload) -> int:
    """The status code that says why a payload could not be opened."""
    return _PAYLOAD_CODES.get(error.code, DECRYPTION)


def is_damage(error: InvalidPayload) -> bool:
    """Whether a file is damaged, so that it may help to fetch it again."""
    return _PAYLOAD_CODES.get(error.code) == DOWNLOAD


class Payload:
    """The plaintext of a sealed file, in pieces; `finish` has looked at the commitment."""

    def __init__(
        self, keys: Sequence[DecryptionKey], context: Context, path: Path, commitment: bytes
    ) -> None:
        self._path = path
        self._commitment = commitment
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        self._opener = Opener(choose_key(keys, header), context, header)
        self.blind = self._opener.blind
        self.plain_bytes = 0

    def pieces(self) -> Iterator[bytes]:
        """Raises `InvalidPayload` where the file is not whole, or not the one on the ledger."""
        with self._path.open("rb") as file:
            file.seek(HEADER_BYTES)
            while sealed := file.read(PIECE_BYTES):
                self._opener.receive(sealed)
                while (plaintext := self._opener.next_chunk()) is not None:
                    self.plain_bytes += len(plaintext)
                    yield plaintext
        last = self._opener.finish(self._commitment)
        self.plain_bytes += len(last)
        yield last


def check(
    setup: Setup, keys: Sequence[DecryptionKey], task: Check, tell: Callable[[int], None]
) -> Checked:
    """The verdict about a payload. Raises `Failed` where this agency cannot judge."""
    context = payload_context(setup.network, task.about)
    try:
        payload = Payload(keys, context, Path(task.path), task.commitment)
        report = _read_records(payload, task, tell)
    except InvalidPayload as error:
        return Checked(codes=(code_of(error),), text=str(error))
    except FileNotFoundError:
        return Checked(codes=(DOWNLOAD,), text="the file is gone")
    except InvalidSource as error:
        return Checked(codes=(SCHEMA,), text=str(error))
    codes, text = _judge(report, task)
    blind = seal_to(keys[0].public, payload.blind, BLIND_INFO + task.about.exchange)
    return Checked(codes=codes, text=text, blind=blind, plain_bytes=payload.plain_bytes)


def _read_records(payload: Payload, task: Check, tell: Callable[[int], None]) -> Report:
    pipeline = _make_pipeline(task.about, task)
    for piece in payload.pieces():
        pipeline.feed(piece)
        tell(payload.plain_bytes)
    return pipeline.finish()[1]


def _make_pipeline(about: About, task: Check) -> Pipeline:
    schema, codes = read_rules(about.dataset, task.rules)
    unknown = sorted(frozenset(about.fields) - schema.properties.keys())
    if unknown:
        raise Failed("field-undefined", ", ".join(unknown), retry=False)
    options = Options(fields=permitted_fields(about), schema_version=task.rules.version)
    return Pipeline(about.dataset, schema, codes, options=options)


def _judge(report: Report, task: Check) -> tuple[tuple[int, ...], str]:
    """Codes for what is wrong with the records, and the first faults in words, without values."""
    faults = [row for row in report.rules if row.severity == "reject"]
    # A field that is not permitted must not have been sent, even though it was dropped here.
    faults += [row for row in report.rules if row.rule in ("field-unpermitted", "field-unknown")]
    codes = {_RULE_CODES.get(row.rule, SCHEMA) for row in faults}
    texts = [
        f"{row.rule} {row.field} x {row.count} (rows {', '.join(map(str, row.rows))})"
        for row in faults[:5]
    ]
    if report.duplicates:
        codes.add(CUSTOM)
        texts.append(f"duplicates: {report.duplicates}")
    if report.rows != task.record_count:
        codes.add(CUSTOM)
        texts.append(f"records: {report.rows}, on the ledger {task.record_count}")
    return tuple(sorted(codes)), "; ".join(texts)[:500]
