"""Statements of provenance in two forms of W3C, each with everything that the other says.

    PROV-JSON    one object of sections; each waits in a file of its own until the end
    PROV-JSONLD  an array of statements in the order of the log, with a JSON-LD 1.1 context

A PROV-JSONLD document refers to the context of the submission by its address, as the submission
asks. Where no network is, the same meaning of the terms used here can stand in the document itself.
"""

import tempfile
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Protocol, Self, TypeAlias

import msgspec

VOCABULARY = "urn:tallystick:prov:1:"
CONTEXT_URL = "https://openprovenance.org/prov-jsonld/context.jsonld"
Prefixes: TypeAlias = dict[str, str]
INT_MAX = 2**31 - 1
_QUALIFIED_NAME = "prov:QUALIFIED_NAME"
# Sections of PROV-JSON, each with the type of its statements in PROV-JSONLD.
TYPES = {
    "entity": "Entity",
    "activity": "Activity",
    "agent": "Agent",
    "wasGeneratedBy": "Generation",
    "used": "Usage",
    "wasInvalidatedBy": "Invalidation",
    "wasAssociatedWith": "Association",
    "wasAttributedTo": "Attribution",
    "actedOnBehalfOf": "Delegation",
    "wasDerivedFrom": "Derivation",
}
_ENCODER = msgspec.json.Encoder()


def _refers(term: str) -> dict[str, str]:
    return {"@id": f"prov:{term}", "@type": "@id"}


def _time(term: str) -> dict[str, str]:
    return {"@id": f"prov:{term}", "@type": "xsd:dateTime"}


def _relation(type_: str, subject: str, **terms: dict[str, str]) -> dict[str, Any]:
    """A statement that PROV-O hangs below its `subject`."""
    of_subject = {"@reverse": f"prov:qualified{type_}", "@type": "@id"}
    return {"@id": f"prov:{type_}", "@context": {subject: of_subject, **terms}}


# Meaning of the terms in PROV-O.
CONTEXT: dict[str, Any] = {
    "@version": 1.1,
    "prov": "http://www.w3.org/ns/prov#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "type": {"@id": "rdf:type", "@type": "@id"},
    **{term: _refers(term) for term in ("entity", "activity", "agent")},
    "Entity": {"@id": "prov:Entity"},
    "Activity": {
        "@id": "prov:Activity",
        "@context": {"startTime": _time("startedAtTime"), "endTime": _time("endedAtTime")},
    },
    "Agent": {"@id": "prov:Agent"},
    "Generation": _relation("Generation", "entity", time=_time("atTime")),
    "Usage": _relation("Usage", "activity", time=_time("atTime")),
    "Invalidation": _relation("Invalidation", "entity", time=_time("atTime")),
    "Association": _relation("Association", "activity", plan=_refers("hadPlan")),
    "Attribution": _relation("Attribution", "entity"),
    "Delegation": _relation("Delegation", "delegate", responsible=_refers("agent")),
    "Derivation": _relation("Derivation", "generatedEntity", usedEntity=_refers("entity")),
}


def name_value(name: str) -> dict[str, str]:
    """A qualified name as a value, as PROV-JSON has it."""
    return {"$": name, "type": _QUALIFIED_NAME}


class Form(Protocol):
    """A document in the making; it is whole when the block ends."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def tell(self, section: str, name: str, about: dict[str, Any]) -> None:
        """Add a statement; one without a name is a relation. Values are those of PROV-JSON."""


class ProvJson:
    """PROV-JSON (W3C member submission of 2013)."""

    schema = "prov/1"

    def __init__(self, prefixes: Prefixes, file: IO[bytes]) -> None:
        self._prefixes, self._file = prefixes, file
        self._relations = 0
        self._stack = ExitStack()
        self._spool: dict[str, IO[bytes]] = {}

    def __enter__(self) -> Self:
        for name in TYPES:
            part = tempfile.TemporaryFile(prefix="tally-")
            self._spool[name] = self._stack.enter_context(part)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self._write()

    def tell(self, section: str, name: str, about: dict[str, Any]) -> None:
        """Add a statement to its section."""
        if not name:
            self._relations += 1
            name = f"_:r{self._relations}"
        part = self._spool[section]
        comma = b"," if part.tell() else b""
        part.write(comma + _ENCODER.encode(name) + b":" + _ENCODER.encode(about))

    def _write(self) -> None:
        self._file.write(b'{"prefix":' + _ENCODER.encode(self._prefixes))
        for name, part in self._spool.items():
            if part.tell():
                self._file.write(f',"{name}":{{'.encode())
                part.seek(0)
                while chunk := part.read(1 << 20):
                    self._file.write(chunk)
                self._file.write(b"}")
        self._file.write(b"}\n")


class ProvJsonLd:
    """PROV-JSONLD (W3C member submission of 2024), one statement a line."""

    schema = "prov-jsonld/1"

    def __init__(self, prefixes: Prefixes, file: IO[bytes], context: Any = CONTEXT_URL) -> None:
        self._contexts, self._file = [prefixes, context], file
        self._separator = b"\n"

    def __enter__(self) -> Self:
        contexts = _ENCODER.encode(self._contexts)
        self._file.write(b'{"@context":' + contexts + b',"@graph":[')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._file.write(b"\n]}\n")

    def tell(self, section: str, name: str, about: dict[str, Any]) -> None:
        """Add a statement behind the others."""
        statement: dict[str, Any] = {"@type": TYPES[section]}
        if name:
            statement["@id"] = name
        for key, value in about.items():
            if key == "prov:type":
                statement["type"] = [value["$"]]
            elif key.startswith("prov:"):
                statement[key.removeprefix("prov:")] = value
            else:
                statement[key] = [_typed(value)]
        self._file.write(self._separator + _ENCODER.encode(statement))
        self._separator = b",\n"


class ProvJsonLdInline(ProvJsonLd):
    """The same with the meaning of its terms in the document, for where no network is."""

    def __init__(self, prefixes: Prefixes, file: IO[bytes]) -> None:
        super().__init__(prefixes, file, CONTEXT)


def _typed(value: str | int | bool) -> dict[str, str]:
    """A value of our own vocabulary as a literal of RDF."""
    if isinstance(value, bool):
        return {"@value": str(value).lower(), "@type": "xsd:boolean"}
    if isinstance(value, int):
        # What readers of PROV-JSON take a number of JSON for.
        return {"@value": str(value), "@type": "xsd:int" if value <= INT_MAX else "xsd:long"}
    return {"@value": value}
