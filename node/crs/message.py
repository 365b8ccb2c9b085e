"""A message as records: its header, and every element with a `DocSpec`, one after the other.

Elements are known by their local names, so editions of a schema with other namespaces read alike.
A record is handed out when its element ends and is dropped afterwards: memory holds what the
parser reads ahead.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from lxml import etree

TEST_INDICATORS = ("OECD10", "OECD11", "OECD12", "OECD13")
MARKS = ("ReportingGroup", "Sponsor", "Intermediary", "PoolReport")
INDICATORS = {"0": "resend", "1": "new", "2": "corrected", "3": "deleted"}


@dataclass(slots=True, kw_only=True)
class Header:
    """`MessageSpec`; what a message does not say is empty."""

    transmitting: str = ""
    receiving: str = ""
    message_id: str = ""
    type_indicator: str = ""
    period: str = ""
    corrected_ids: tuple[str, ...] = ()
    line: int = 0


@dataclass(slots=True, kw_only=True)
class Record:
    """An element with a `DocSpec`. `indicator` is new, corrected, deleted or resend; or empty."""

    name: str
    element: etree._Element
    line: int
    body: int
    document_id: str
    indicator: str
    is_test: bool
    corrected_id: str
    corrected_message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A `ReportingGroup` that ended, or what in one should not be there."""

    name: str
    line: int
    body: int


@dataclass(slots=True)
class Reader:
    """Reads one file; `header` and `bodies`, of those that ended, fill while `parts` is walked."""

    path: Path
    header: Header = field(default_factory=Header)
    bodies: int = 0

    def parts(self) -> Iterator[Record | Mark]:
        """Records and marks in the order in which they stand."""
        with self.path.open("rb") as file:
            walk = etree.iterparse(
                file, events=("end",), resolve_entities=False, no_network=True,
                load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True,
            )  # fmt: skip
            for _, element in walk:
                name = local(element)
                if name == "MessageSpec":
                    self.header = _read_header(element)
                elif name in MARKS:
                    yield Mark(name=name, line=element.sourceline or 0, body=self.bodies)
                elif name.endswith("Body"):
                    self.bodies += 1
                if has_spec(element):
                    yield _read_record(element, self.bodies)
                    _drop(element)


def local(element: etree._Element) -> str:
    """Name of an element without its namespace."""
    return _local(element.tag)


# Names are those of whoever wrote the message, so they are not all remembered.
@lru_cache(1_024)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def find_all(element: etree._Element, path: str) -> list[etree._Element]:
    """Elements below `element` by local names, as `AccountHolder/Individual`."""
    found: list[etree._Element] = element.findall(_any_namespace(path))
    return found


@cache
def _any_namespace(path: str) -> str:
    return "/".join(f"{{*}}{name}" for name in path.split("/"))


def texts(element: etree._Element, path: str) -> list[str]:
    """Texts of the elements at a path, trimmed."""
    return [(each.text or "").strip() for each in find_all(element, path)]


def text(element: etree._Element, path: str) -> str:
    """Text of the first element at a path; empty: there is none."""
    return next(iter(texts(element, path)), "")


def has_spec(element: etree._Element) -> bool:
    """Whether an element is a record."""
    return next(element.iterchildren("{*}DocSpec"), None) is not None


def _drop(element: etree._Element) -> None:
    """Forget an element and what stands before it under the same parent."""
    element.clear(keep_tail=False)
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _read_header(element: etree._Element) -> Header:
    return Header(
        transmitting=text(element, "TransmittingCountry"),
        receiving=text(element, "ReceivingCountry"),
        message_id=text(element, "MessageRefId"),
        type_indicator=text(element, "MessageTypeIndic"),
        period=text(element, "ReportingPeriod"),
        corrected_ids=tuple(texts(element, "CorrMessageRefId")),
        line=element.sourceline or 0,
    )


def _read_record(element: etree._Element, body: int) -> Record:
    (spec, *_) = find_all(element, "DocSpec")
    indicator = text(spec, "DocTypeIndic")
    return Record(
        name=local(element),
        element=element,
        line=element.sourceline or 0,
        body=body,
        document_id=text(spec, "DocRefId"),
        indicator=INDICATORS.get(indicator[-1:], "") if indicator.startswith("OECD") else "",
        is_test=indicator in TEST_INDICATORS,
        corrected_id=text(spec, "CorrDocRefId"),
        corrected_message_id=text(spec, "CorrMessageRefId"),
    )
