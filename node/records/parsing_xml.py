"""Rows of XML: any root, in it one element a row, in that one element a field, in that text.

A document type declaration is refused where it begins, before any entity exists. The five
predefined entities and numbered characters are the only references left.
"""

import codecs
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from node.records.errors import InvalidSource
from node.records.parsing import Encoding, Limits, Row

_ROOT, _ROW, _FIELD = 1, 2, 3


class XmlParser:
    """Expat, with bounds on the size of a row and of any single token."""

    def __init__(self, limits: Limits, encoding: Encoding) -> None:
        self._limits = limits
        self._encoding = encoding
        # Expat reads UTF-8 only of those that we take; anything else is decoded before.
        self._decoder = codecs.getincrementaldecoder("gb18030")() if encoding != "utf-8" else None
        self._rows: list[Row] = []
        self._values: dict[str, Any] = {}
        self._text: list[str] = []
        self._fault = ""
        self._depth = 0
        self._row_chars = 0
        self._fed_bytes = 0
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.XmlDeclHandler = self._declared
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, data: bytes) -> Iterator[Row]:
        """Rows that are complete with this piece."""
        size = self._limits.row_bytes_max
        for at in range(0, len(data), size):
            yield from self._parse(data[at : at + size], is_last=False)

    def close(self) -> Iterator[Row]:
        """Nothing, unless the document ends in the middle."""
        return self._parse(b"", is_last=True)

    def _parse(self, data: bytes, *, is_last: bool) -> Iterator[Row]:
        try:
            if self._decoder is not None:
                data = self._decoder.decode(data, is_last).encode()
            self._parser.Parse(data, is_last)
        except UnicodeDecodeError:
            raise InvalidSource("source-encoding", self._encoding) from None
        except expat.ExpatError as error:
            code = "source-truncated" if is_last else "xml-malformed"
            raise InvalidSource(code, str(error.lineno)) from None
        self._fed_bytes += len(data)
        # A token without an end would be kept, and grow, within the parser.
        if self._fed_bytes - self._parser.CurrentByteIndex > 4 * self._limits.row_bytes_max:
            raise InvalidSource("row-size", str(self._limits.row_bytes_max))
        rows, self._rows = self._rows, []
        return iter(rows)

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        if encoding and encoding.lower() not in {self._encoding, "utf8"}:
            raise InvalidSource("source-encoding", self._encoding)

    def _refuse_doctype(self, *rest: object) -> None:
        del rest
        raise InvalidSource("xml-doctype", "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > self._limits.depth_max:
            raise InvalidSource("xml-depth", str(self._limits.depth_max))
        if self._depth == _ROW:
            self._values, self._fault, self._row_chars = {}, "", 0
        if self._depth >= _ROW:
            self._bound(len(name))
            for key, value in attributes.items():
                if not key.startswith("xmlns"):
                    self._put(f"{name}@{key}", value)
        if self._depth == _FIELD:
            self._text = []
        elif self._depth > _FIELD:
            self._fault = "row-nested"

    def _end(self, name: str) -> None:
        if self._depth == _FIELD:
            self._put(name, "".join(self._text))
        elif self._depth == _ROW:
            self._rows.append(({}, self._fault) if self._fault else (self._values, ""))
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._depth == _FIELD:
            self._bound(len(text))
            self._text.append(text)
        elif self._depth == _ROW and not text.isspace():
            self._fault = "row-unreadable"

    def _put(self, name: str, value: str) -> None:
        self._bound(len(value))
        if name in self._values:
            self._fault = "key-repeated"
        if len(self._values) >= self._limits.columns_max:
            self._fault = "row-columns"
            return
        self._values[name] = value

    def _bound(self, chars: int) -> None:
        self._row_chars += chars
        if self._row_chars > self._limits.row_bytes_max:
            raise InvalidSource("row-size", str(self._limits.row_bytes_max))
