"""From the bytes of a source to canonical records and a quality report, in one pass.

For each row, in this order:

1. parse                 a row that cannot be read is rejected, a source that cannot is refused
2. minimise              only permitted fields go on; the others are counted and forgotten
3. normalise             values into canonical form, each change counted by its rule
4. validate              against the schema, narrowed to the permitted fields
5. de-duplicate          by a digest of the canonical bytes
6. put out               JSON Lines: sorted names, no spaces, UTF-8, in the order of the source

Memory holds one row, the piece being fed, and at most `digests_max` digests of 16 bytes.

    pipeline = Pipeline("invoice", schema, codes, options=Options(format="csv"))
    records = pipeline.feed(data) + pipeline.feed(more)
    tail, report = pipeline.finish()
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from contracts.registers.schema import Shape
from node.records.errors import InvalidSource
from node.records.normalise import Amounts, compile_fixers
from node.records.parsing import CsvParser, Encoding, JsonLinesParser, Limits, Parser, Row
from node.records.parsing_xml import XmlParser
from node.records.report import Report, Tally
from node.records.rules import RULES
from node.records.schema import narrow
from node.records.validate import CodeLists, compile_record

Format = Literal["csv", "jsonl", "xml"]
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "xml")

# As many groups of digests as two bytes have values.
HEAD_BYTES = 2
_BOM = b"\xef\xbb\xbf"
_FOREIGN = (b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to read a source. Empty `fields` permits all of the schema."""

    format: Format = "jsonl"
    encoding: Encoding = "utf-8"
    amounts: Amounts = "fen"
    fields: frozenset[str] = frozenset()
    schema_version: int = 1
    limits: Limits = field(default_factory=Limits)


class Pipeline:
    """One source, once. After `InvalidSource` it is spent and its output is void."""

    def __init__(self, dataset: str, schema: Shape, codes: CodeLists, *, options: Options) -> None:
        permitted = options.fields or frozenset(schema.properties)
        narrowed = narrow(schema, permitted)
        self._dataset = dataset
        self._options = options
        self._limits = options.limits
        self._permitted = permitted
        self._required = narrowed.required
        # A source may call a field by its id or by either title; values are for permitted ones.
        self._fields = {
            name: key
            for key, shape in schema.properties.items()
            for name in (shape.title, shape.title_zh, key)
        }
        self._fixers = compile_fixers(narrowed, codes, options.amounts)
        self._judge = compile_record(narrowed, codes)
        self._encode = msgspec.json.Encoder(order="sorted").encode
        self._parser = self._make_parser()
        self._head: bytes | None = b""
        self._seen = Digests()
        self._tally = Tally()
        self._rows = self._accepted = self._rejected = self._duplicates = 0
        self._fixed = self._warned = 0

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._rows

    def feed(self, data: bytes) -> bytes:
        """Canonical lines of the rows that are complete with this piece."""
        if self._head is not None:
            data = self._head + data
            if len(data) < 4:
                self._head = data
                return b""
            data = _strip_mark(data)
            self._head = None
        return self._pass(self._parser.feed(data))

    def finish(self) -> tuple[bytes, Report]:
        """The last lines and the report."""
        lines = b""
        if self._head is not None:
            head, self._head = _strip_mark(self._head), None
            lines = self._pass(self._parser.feed(head))
        lines += self._pass(self._parser.close())
        report = Report(
            version=1,
            dataset=self._dataset,
            schema_version=self._options.schema_version,
            fields=tuple(sorted(self._permitted)),
            rows=self._rows,
            accepted=self._accepted,
            rejected=self._rejected,
            duplicates=self._duplicates,
            fixed=self._fixed,
            warned=self._warned,
            rules=tuple(self._tally.rows()),
        )
        return lines, report

    def _make_parser(self) -> Parser:
        limits, encoding = self._limits, self._options.encoding
        if self._options.format == "csv":
            return CsvParser(limits, encoding, self._check_head)
        if self._options.format == "xml":
            return XmlParser(limits, encoding)
        return JsonLinesParser(limits, encoding)

    def _check_head(self, head: list[str]) -> None:
        """Errors do not repeat the names: where they are left out, values stand in their place."""
        found = {self._fields[name] for name in head if name in self._fields}
        if not found & self._permitted:
            raise InvalidSource("columns-unknown", "")
        if missing := sorted(self._required - found):
            raise InvalidSource("columns-missing", ", ".join(missing))

    def _pass(self, rows: Iterable[Row]) -> bytes:
        lines = []
        for values, rule in rows:
            self._rows += 1
            if self._rows > self._limits.rows_max:
                raise InvalidSource("rows-many", str(self._limits.rows_max))
            if rule:
                self._tally.count(rule, "", self._rows)
                self._rejected += 1
            elif line := self._clean(values):
                lines.append(line)
        return b"".join(lines)

    def _clean(self, values: dict[str, Any]) -> bytes:
        """The canonical line of a row, or nothing."""
        record, is_repeated = self._minimise(values)
        faults = [("key-repeated", "")] if is_repeated else self._judge(record)
        is_warned = False
        for rule, name in faults:
            self._tally.count(rule, name, self._rows)
            is_warned = is_warned or RULES[rule] == "warn"
        if any(RULES[rule] == "reject" for rule, _ in faults):
            self._rejected += 1
            return b""
        line = self._encode(record) + b"\n"
        if self._is_duplicate(line):
            self._duplicates += 1
            return b""
        self._accepted += 1
        self._warned += is_warned
        return line

    def _minimise(self, values: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Permitted fields in canonical form, and whether a field came under two names."""
        record: dict[str, Any] = {}
        fixes: list[str] = []
        is_fixed = is_repeated = False
        for key, value in values.items():
            name = self._fields.get(key, "")
            fixer = self._fixers.get(name)
            if fixer is None:
                if value not in ("", None):
                    rule = "field-unpermitted" if name else "field-unknown"
                    self._tally.count(rule, name, self._rows)
                continue
            is_repeated = is_repeated or name in record
            fixed = fixer(value, fixes)
            if fixed is None or fixed == "":
                fixes = ["empty"]
            else:
                record[name] = fixed
            if fixes:
                is_fixed = True
                for rule in fixes:
                    self._tally.count(rule, name, self._rows)
                fixes = []
        self._fixed += is_fixed
        return record, is_repeated

    def _is_duplicate(self, line: bytes) -> bool:
        digest = hashlib.blake2b(line, digest_size=16).digest()
        if digest in self._seen:
            return True
        if self._seen.count < self._limits.digests_max:
            self._seen.add(digest)
        else:
            self._tally.count("unique-unknown", "", self._rows)
        return False


class Digests:
    """A set of digests in a quarter of the memory that `set` takes.

    Those with the same first bytes stand one behind the other, without these.
    """

    def __init__(self) -> None:
        self.count = 0
        self._tails: dict[bytes, bytearray] = {}

    def __contains__(self, digest: bytes) -> bool:
        tails, tail = self._tails.get(digest[:HEAD_BYTES], b""), digest[HEAD_BYTES:]
        at = tails.find(tail)
        while at > 0 and at % len(tail):
            # Across two digests: none of them.
            at = tails.find(tail, at + 1)
        return at >= 0

    def add(self, digest: bytes) -> None:
        """Add a digest that is not in it; all have the same length."""
        self._tails.setdefault(digest[:HEAD_BYTES], bytearray()).extend(digest[HEAD_BYTES:])
        self.count += 1


def _strip_mark(data: bytes) -> bytes:
    """Without the byte order mark of UTF-8; what is plainly not text of ours is refused."""
    if data.startswith(_FOREIGN):
        raise InvalidSource("source-binary", "")
    return data.removeprefix(_BOM)
