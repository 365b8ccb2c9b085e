"""Attacks by XML are refused where they are declared, each with its code; broken XML too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.crs.errors import InvalidDocument
from node.crs.guard import THREATS, Limits, check_pieces
from tests.unit.node.crs.messages import check, first

LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
ATTACKS = {
    "crs-xml-doctype": "<!DOCTYPE r [<!ELEMENT r ANY>]><r/>",
    "crs-xml-external-dtd": '<!DOCTYPE r SYSTEM "http://example.invalid/x.dtd"><r/>',
    "crs-xml-external-entity": '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r>&x;</r>',
    "crs-xml-entity-expansion": f'<!DOCTYPE r [<!ENTITY l0 "ha">{LAUGHS}]><r>&l9;</r>',
    "crs-xml-entity-long": f'<!DOCTYPE r [<!ENTITY a "{"a" * 50_000}">]><r>{"&a;" * 50_000}</r>',
    "crs-xml-depth": "<r>" * 100_000,
    "crs-xml-attributes": "<r " + " ".join(f'a{n}="1"' for n in range(70)) + "/>",
    "crs-xml-token": f'<r a="{"x" * 3_000_000}"/>',
}
BROKEN = {
    "crs-xml-encoding": '<?xml version="1.0" encoding="cp037"?><r/>',
    "crs-xml-malformed": "<r><a></r>",
    "crs-xml-truncated": "<r><a>",
}


def code_of(text: str | bytes, limits: Limits | None = None) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InvalidDocument) as caught:
        check_pieces((data[at : at + 1_000] for at in range(0, len(data), 1_000)), limits)
    return caught.value.code


@pytest.mark.parametrize("code", [*ATTACKS, *BROKEN])
def test_an_attack_is_refused_with_its_code(code: str) -> None:
    assert code_of({**ATTACKS, **BROKEN}[code]) == code


def test_every_threat_has_its_attack() -> None:
    assert ATTACKS.keys() | {"crs-xml-size"} == THREATS


def test_a_parameter_entity_from_outside_is_an_external_entity() -> None:
    text = '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://example.invalid/p"> %p;]><r/>'
    assert code_of(text) == "crs-xml-external-entity"


def test_a_public_identifier_is_an_external_dtd() -> None:
    text = '<!DOCTYPE r PUBLIC "-//W3C//DTD XHTML 1.0//EN" "http://example.invalid/x.dtd"><r/>'
    assert code_of(text) == "crs-xml-external-dtd"


def test_an_entity_that_nobody_declared_is_malformed() -> None:
    assert code_of("<r>&x;</r>") == "crs-xml-malformed"


def test_a_document_has_a_size() -> None:
    assert code_of("<r>" + "a" * 5_000 + "</r>", Limits(size_bytes_max=4_000)) == "crs-xml-size"


def test_a_stream_without_end_is_cut_off() -> None:
    def endless() -> Iterator[bytes]:
        yield b"<r>"
        while True:
            yield b"<a>x</a>" * 1_000

    with pytest.raises(InvalidDocument, match="crs-xml-size"):
        check_pieces(endless(), Limits(size_bytes_max=1 << 20))


@pytest.mark.parametrize("text", ["", "\0", "<r/><r/>", "<r>\xff</r>"])
def test_what_is_no_document_is_refused(text: str) -> None:
    assert code_of(text.encode("latin-1")) in BROKEN


def test_the_line_is_told() -> None:
    with pytest.raises(InvalidDocument) as caught:
        check_pieces((b"<r>\n\n<a></b></r>",))
    assert caught.value.line == 3


@pytest.mark.parametrize(("code", "status"), [*((c, 50005) for c in ATTACKS),
                                              *((c, 50007) for c in BROKEN)])  # fmt: skip
def test_a_file_with_an_attack_is_rejected_as_a_threat(
    tmp_path: Path, code: str, status: int
) -> None:
    finding = first(check(tmp_path / "m.xml", {**ATTACKS, **BROKEN}[code]))
    assert (finding.code, finding.reason) == (status, code)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_encodings_that_xml_must_have_are_read(encoding: str) -> None:
    check_pieces(('<?xml version="1.0"?><r>符</r>'.encode(encoding),))
