"""What XML must not contain, found by expat before any other parser sees it.

A document type declaration is the way to everything harmful: files and addresses outside (external
entities, an external subset), and small input that grows without bound (entities of entities, one
long entity used often). All of it is refused where it is declared, before anything is expanded, and
the code says which it was. Depth, size, attributes and single tokens are bounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from xml.parsers import expat

from node.crs.errors import InvalidDocument

PIECE_BYTES = 1 << 16
_LONG_ENTITY_CHARS = 1_024
# What every parser reads alike; others have hidden declarations from those that looked for them.
_ENCODINGS = ("utf-8", "utf-16")

# Codes of what is an attack, or looks like one; the others are of XML that is merely wrong.
THREATS = frozenset(
    {
        "crs-xml-doctype", "crs-xml-external-dtd", "crs-xml-external-entity",
        "crs-xml-entity-expansion", "crs-xml-entity-long", "crs-xml-depth", "crs-xml-size",
        "crs-xml-attributes", "crs-xml-token",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a document."""

    size_bytes_max: int = 2 << 30
    depth_max: int = 64
    attributes_max: int = 64
    token_bytes_max: int = 1 << 20


def check_pieces(pieces: Iterable[bytes], limits: Limits | None = None) -> None:
    """Read a document to its end. Raises `InvalidDocument`."""
    guard = _Guard(limits or Limits())
    for piece in pieces:
        for at in range(0, len(piece), PIECE_BYTES):
            guard.feed(piece[at : at + PIECE_BYTES])
    guard.close()


class _Guard:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fed = 0
        self._depth = 0
        self._parser = expat.ParserCreate()
        self._parser.XmlDeclHandler = self._declared
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EndDoctypeDeclHandler = self._end_doctype
        self._parser.EntityDeclHandler = self._entity
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def feed(self, data: bytes) -> None:
        self._fed += len(data)
        if self._fed > self._limits.size_bytes_max:
            raise self._fault("crs-xml-size")
        self._parse(data, is_last=False)
        # A token without an end is kept, and grows, within the parser.
        if self._fed - max(self._parser.CurrentByteIndex, 0) > self._limits.token_bytes_max:
            raise self._fault("crs-xml-token")

    def close(self) -> None:
        self._parse(b"", is_last=True)

    def _parse(self, data: bytes, *, is_last: bool) -> None:
        try:
            self._parser.Parse(data, is_last)
        except expat.ExpatError as error:
            code = "crs-xml-truncated" if is_last else "crs-xml-malformed"
            raise InvalidDocument(code, error.lineno) from None

    def _fault(self, code: str) -> InvalidDocument:
        return InvalidDocument(code, self._parser.CurrentLineNumber)

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        if encoding and encoding.lower() not in _ENCODINGS:
            raise self._fault("crs-xml-encoding")

    def _doctype(
        self, name: str, system_id: str | None, public_id: str | None, has_subset: int
    ) -> None:
        del name, public_id, has_subset  # a public identifier never stands alone
        if system_id is not None:
            raise self._fault("crs-xml-external-dtd")

    def _entity(
        self,
        name: str,
        is_parameter: int,
        value: str | None,
        base: str | None,
        system_id: str | None,
        public_id: str | None,
        notation: str | None,
    ) -> None:
        del name, is_parameter, base, public_id, notation
        if system_id is not None or value is None:
            raise self._fault("crs-xml-external-entity")
        if "&" in value or "%" in value:
            raise self._fault("crs-xml-entity-expansion")
        if len(value) > _LONG_ENTITY_CHARS:
            raise self._fault("crs-xml-entity-long")

    def _end_doctype(self) -> None:
        raise self._fault("crs-xml-doctype")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        del name
        self._depth += 1
        if self._depth > self._limits.depth_max:
            raise self._fault("crs-xml-depth")
        if len(attributes) > self._limits.attributes_max:
            raise self._fault("crs-xml-attributes")

    def _end(self, name: str) -> None:
        del name
        self._depth -= 1
