"""Messages of the reporting standard as payloads: what leaves an agency, and what it accepts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.exchange.references import REFERENCES_MAX
from node.connectors.errors import ConnectorFailed
from node.connectors.folder import FolderConnector
from node.connectors.inbox import FolderReceiver
from node.crs.errors import CrsError, InvalidStatus
from node.crs.references import make_key, read_references
from node.crs.status import StatusMessage, read_status
from node.gateway.jobs import Failed, Named, name_more
from node.gateway.steps.messages import read_batch
from node.gateway.work import message
from node.gateway.work.child import Bench, perform
from node.gateway.work.hand import hand
from node.gateway.work.prepare import prepare as prepare_records
from node.gateway.work.tasks import (
    Check,
    Checked,
    Fault,
    Hand,
    Messages,
    Prepare,
    Prepared,
    Probe,
    ReadAnswer,
    Rules,
    Setup,
)
from node.records.report import decode_report, hash_report
from tests.builders import ASKER, hash32
from tests.unit.node.crs import messages as m
from tests.unit.node.gateway.work.bench import ABOUT, OWN, PARTNER, make_setup, seal

OF_2024 = msgspec.structs.replace(
    ABOUT, dataset="account", period_from="2024-01-01", period_to="2024-12-31"
)
CRS = Rules(version=3, form="crs")
BORN_LONG_AGO = m.message(
    m.body(m.institution(), m.group(m.account(holder=m.person(born="1850-01-01"))))
)
BELOW_ZERO = m.message(m.body(m.institution(), m.group(m.account(balance="-1"))))


class House:
    """Two agencies in one folder: the owner sends what stands in `out`, the asker gets it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sealed = folder / "payload.sealed"
        (folder / "out").mkdir()
        make_key(folder / "reference.key", "2024")

    def setup(self, **changed: Any) -> Setup:
        """An agency's settings for messages; keywords say what is different."""
        settings = Messages(
            schema=str(m.SCHEMA_FOLDER), reference_keys=("reference.key",), **changed
        )
        return make_setup(self.folder, messages={"account": settings})

    def connector(self, **changed: Any) -> FolderConnector:
        options = {"path": "out", "files": "{requester}/*.xml", "format": "message", **changed}
        return FolderConnector(options, self.folder)

    def prepare(self, text: str | bytes, **changed: Any) -> Prepared:
        """What the owner makes of a message."""
        (self.folder / "out" / ASKER).mkdir(exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        (self.folder / "out" / ASKER / "m.xml").write_bytes(data)
        task = Prepare(
            about=changed.pop("about", OF_2024),
            rules=CRS,
            subjects=(),
            question=b"",
            recipient=PARTNER.public,
            path=str(self.sealed),
            receiving="CN",
        )
        return message.prepare(
            self.setup(**changed), (OWN,), self.connector(), task, lambda _: None
        )

    def check(self, prepared: Prepared, **changed: Any) -> Checked:
        """What the asker makes of what came."""
        task = Check(
            about=OF_2024,
            rules=CRS,
            commitment=prepared.commitment,
            record_count=prepared.record_count,
            path=str(self.sealed),
            receiving="CN",
            transmitting="DE",
            named=self.named(),
        )
        settings = {name: changed.pop(name) for name in tuple(changed) if name in SETTINGS}
        task = msgspec.structs.replace(task, **changed)
        setup = msgspec.structs.replace(self.setup(**settings), member=ASKER)
        return message.check(setup, (PARTNER,), task, lambda _: None)

    def named(self) -> Named | None:
        """What the ledger would name once all of it is recorded."""
        named = None
        lines = message.references_path(self.sealed).read_bytes().split(b"\n")
        for line in filter(None, lines):
            named = name_more(named, msgspec.json.decode(line))
        return named


SETTINGS = Messages.__struct_fields__


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def answer_of(checked: Checked) -> StatusMessage:
    return read_status(checked.answer)


def codes_of(status: StatusMessage) -> list[int]:
    return [each.code for each in (*status.file_errors, *status.record_errors)]


def refusal(house: House, text: str, **changed: Any) -> Failed:
    with pytest.raises(Failed) as caught:
        house.prepare(text, **changed)
    assert not caught.value.retry
    assert sorted(path.name for path in house.folder.iterdir()) == ["out", "reference.key"]
    return caught.value


def test_a_message_arrives_byte_for_byte_with_the_status_message_beside_it(house: House) -> None:
    data = m.message().encode() + b"<!-- as it is -->\r\n"
    prepared = house.prepare(data)
    assert prepared.record_count == 2
    checked = house.check(prepared)
    assert (checked.codes, checked.text, checked.plain_bytes) == ((), "", len(data))
    task = Hand(
        about=OF_2024,
        commitment=prepared.commitment,
        plain_bytes=len(data),
        record_count=prepared.record_count,
        report=prepared.report,
        path=str(house.sealed),
        form="crs",
        answer=checked.answer,
    )
    setup = msgspec.structs.replace(house.setup(), member=ASKER)
    receiver = FolderReceiver({"path": "in"}, house.folder)
    for _ in range(2):
        hand(setup, (PARTNER,), receiver, task, lambda _: None)
    [place] = (house.folder / "in").iterdir()
    assert sorted(path.name for path in place.iterdir()) == [
        "delivery.json", "message.xml", "report.json", "status.xml"
    ]  # fmt: skip
    assert (place / "message.xml").read_bytes() == data
    assert msgspec.json.decode((place / "delivery.json").read_bytes())["form"] == "crs"
    status = read_status((place / "status.xml").read_bytes())
    assert (status.status, status.original_id) == ("Accepted", "DE2024CN0001")
    assert (status.transmitting, status.receiving) == ("CN", "DE")
    assert status.message_id == f"CN2024DE{OF_2024.exchange.hex()}.0"


def test_nothing_decrypted_is_on_a_disk_after_the_check(house: House) -> None:
    prepared = house.prepare(m.message())
    (house.folder / "out" / ASKER / "m.xml").unlink()
    house.check(prepared)
    for path in house.folder.rglob("*"):
        assert not path.is_file() or b"Zhang San" not in path.read_bytes(), path


def test_what_is_named_for_the_ledger_is_what_the_command_writes(house: House) -> None:
    accounts = [m.account(f"DE2024A{n}") for n in range(REFERENCES_MAX + 3)]
    text = m.message(m.body(m.institution(), m.group(*accounts)))
    prepared = house.prepare(text)
    key = message.read_key(house.folder / "reference.key")
    (house.folder / "m.xml").write_text(text)
    batches = list(read_references(house.folder / "m.xml", key))
    path = message.references_path(house.sealed)
    named: Named | None = None
    for batch in batches:
        body = read_batch(path, hash32("x"), named)
        assert body is not None
        assert [each.document.hex() for each in body.references] == [
            each["document"] for each in batch["references"]
        ]
        assert (body.message.hex(), body.period) == (prepared.message, "2024-12-31")
        named = name_more(named, batch)
    assert len(batches) == 2
    assert read_batch(path, hash32("x"), named) is None
    # What another message was named with does not count.
    first = read_batch(path, hash32("x"), Named(message="00" * 32, parts=5))
    assert first is not None
    assert first.references[0].document.hex() == batches[0]["references"][0]["document"]
    assert house.check(prepared).codes == ()


def test_a_list_of_documents_that_is_gone_is_told(house: House) -> None:
    with pytest.raises(Failed, match="references-lost"):
        read_batch(house.folder / "none.references", hash32("x"), None)


@pytest.mark.parametrize(
    ("text", "holds", "named"),
    [
        (BELOW_ZERO, "any", "60002 x 1 (lines 7)"),
        (BORN_LONG_AGO, "any", "60014 x 1 (lines 7)"),
        (BORN_LONG_AGO, "listed", "60014 x 1 (lines 7)"),
        (m.message(id_="DE1"), "file", "50008 x 1 (lines 3)"),
        (m.message()[:-20], "file", "50007 x 1 (lines 9)"),
        (m.message(head="<!DOCTYPE Message>"), "file", "50005 x 1 (lines 2)"),
    ],
)
def test_a_message_with_faults_does_not_leave_the_agency(
    house: House, text: str, holds: str, named: str
) -> None:
    error = refusal(house, text, holds=holds)
    assert (error.code, error.detail) == ("message-faulty", named)


@pytest.mark.parametrize(("text", "holds"), [(BELOW_ZERO, "listed"), (BORN_LONG_AGO, "file")])
def test_what_an_agency_does_not_hold_goes_with_its_findings_in_the_report(
    house: House, text: str, holds: str
) -> None:
    prepared = house.prepare(text, holds=holds)
    report = decode_report(prepared.report)
    assert hash_report(report) == prepared.quality_digest
    assert (report.rows, report.accepted, report.warned) == (2, 2, 1)
    [rule] = report.rules
    assert (rule.count, rule.rows) == (1, (7,))
    assert rule.rule in ("oecd-60002", "oecd-60014")


def test_errors_of_records_are_accepted_and_told(house: House) -> None:
    checked = house.check(house.prepare(BELOW_ZERO, holds="listed"))
    assert checked.codes == ()
    status = answer_of(checked)
    assert (status.status, codes_of(status)) == ("Accepted", [60002])
    assert status.record_errors[0].documents == ("DE2024A1",)
    # An agency may be stricter.
    strict = house.check(house.prepare(BELOW_ZERO, holds="file"), rejects="any")
    assert (strict.codes, strict.text) == ((60002,), "60002 x 1 (lines 7)")
    assert answer_of(strict).status == "Rejected"


def test_errors_that_the_standard_lists_reject_the_message(house: House) -> None:
    prepared = house.prepare(BORN_LONG_AGO, holds="file")
    checked = house.check(prepared, language="zh")
    assert (checked.codes, checked.text) == ((60014,), "60014 x 1 (lines 7)")
    status = answer_of(checked)
    assert (status.status, codes_of(status)) == ("Rejected", [60014])
    assert status.record_errors[0].details == "出生日期不合理"
    assert house.check(prepared, rejects="file").codes == ()


def sealed(house: House, text: str) -> Prepared:
    """A message that a provider sends without having looked at it."""
    commitment = seal(house.sealed, text.encode(), about=OF_2024, key=PARTNER)
    message.references_path(house.sealed).touch()
    return Prepared(
        commitment=commitment,
        record_count=2,
        size_bytes=0,
        quality_digest=b"",
        report=b"",
        blind=b"",
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 50007), ("no xml", 50007), ("{}\n", 50007), (m.message(head="<!DOCTYPE M>"), 50005),
        (m.message(id_="DE2023CN0001"), 50008), (m.message(tail="<Extra/>"), 50007),
        (m.message(receiving="FR", id_="DE2024FR1"), 50012),
    ],
)  # fmt: skip
def test_an_error_of_the_file_rejects_it_whatever_the_ledger_names(
    house: House, text: str, code: int
) -> None:
    checked = house.check(sealed(house, text))
    assert code in checked.codes
    status = answer_of(checked)
    assert (status.status, code in codes_of(status)) == ("Rejected", True)
    assert (status.transmitting, status.receiving) == ("CN", "DE")
    known = "MessageRefId" in text and code not in (50005, 50007)
    assert (status.original_id == OF_2024.exchange.hex()) is not known


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"named": None}, "references-differ"),
        ({"named": Named(message="00" * 32, digest=bytes(32), parts=1)}, "references-differ"),
        ({"record_count": 3}, "records: 2, on the ledger 3"),
        ({"about": msgspec.structs.replace(OF_2024, period_to="2024-06-30")}, "2024-12-31"),
    ],
)
def test_what_is_otherwise_than_the_ledger_says_is_rejected(
    house: House, changed: dict[str, Any], said: str
) -> None:
    checked = house.check(house.prepare(m.message()), **changed)
    assert checked.codes == (99999,)
    assert said in checked.text
    status = answer_of(checked)
    assert (status.status, codes_of(status)) == ("Rejected", [99999])


@pytest.mark.parametrize("at", [40, -40])
def test_a_payload_that_cannot_be_opened_has_a_status_message_too(house: House, at: int) -> None:
    prepared = house.prepare(m.message())
    data = bytearray(house.sealed.read_bytes())
    data[at] ^= 1
    house.sealed.write_bytes(data)
    checked = house.check(prepared)
    assert checked.codes in ((50001,), (50002,))
    status = answer_of(checked)
    assert (status.status, codes_of(status)) == ("Rejected", list(checked.codes))
    assert status.original_id == OF_2024.exchange.hex()
    house.sealed.unlink()
    assert house.check(prepared).codes == (50001,)


def test_an_id_that_no_status_message_can_hold_is_left_out(house: House) -> None:
    checked = house.check(house.prepare(m.message(id_="DE2024CN" + "x" * 150)))
    assert answer_of(checked).original_id.endswith("xxx")
    odd = m.message(m.body(m.institution(), m.group(m.account(id_="DE2024A\u0085", balance="-1"))))
    assert house.check(house.prepare(odd, holds="listed")).answer


def test_a_message_of_another_period_does_not_leave_the_agency(house: House) -> None:
    about = msgspec.structs.replace(OF_2024, period_from="2025-01-01", period_to="2025-12-31")
    error = refusal(house, m.message(), about=about)
    assert (error.code, error.detail) == ("message-period", "2024-12-31")


def test_nothing_to_report_names_no_documents(house: House) -> None:
    prepared = house.prepare(m.message("", kind="CRS703"))
    assert (prepared.record_count, prepared.message) == (0, "")
    assert read_batch(message.references_path(house.sealed), hash32("x"), None) is None
    assert house.check(prepared).codes == ()


def test_a_message_too_large_for_memory_is_refused_on_either_side(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = house.prepare(m.message())
    monkeypatch.setattr(message, "MESSAGE_BYTES_MAX", 100)
    checked = house.check(prepared)
    assert (checked.codes, checked.text) == ((99999,), "message-large")
    house.sealed.unlink()
    message.references_path(house.sealed).unlink()
    assert refusal(house, m.message()).code == "message-large"


@pytest.mark.parametrize("side", ["prepare", "check"])
def test_a_year_without_a_key_is_held_here(house: House, side: str) -> None:
    prepared = house.prepare(m.message())
    (house.folder / "reference.key").unlink()
    make_key(house.folder / "reference.key", "2025")
    with pytest.raises(Failed) as caught:
        house.prepare(m.message()) if side == "prepare" else house.check(prepared)
    assert (caught.value.code, caught.value.detail) == ("reference-key-missing", "2024")
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("break_", "code"),
    [
        (lambda path: path.chmod(0o644), "reference-key-open"),
        (lambda path: path.write_text("x"), "reference-key-unreadable"),
    ],
)
def test_keys_that_cannot_be_used_are_held_with_their_code(
    house: House, break_: Any, code: str
) -> None:
    break_(house.folder / "reference.key")
    with pytest.raises(CrsError) as caught:
        house.prepare(m.message())
    assert caught.value.code == code


def bench(house: House, **changed: Any) -> Bench:
    return Bench(msgspec.structs.replace(house.setup(), **changed), lambda _: None)


def test_a_child_tells_what_is_wrong_with_schema_and_settings(house: House) -> None:
    probe = Probe(dataset="account", is_message=True)
    assert not isinstance(perform(bench(house), probe), Fault)
    lost = {"account": Messages(schema="none")}
    for messages, code in (({}, "message-settings-missing"), (lost, "xsd-manifest-missing")):
        told = perform(bench(house, messages=messages), probe)
        assert isinstance(told, Fault)
        assert (told.code, told.retry) == (code, False)


def test_a_child_without_the_libraries_says_what_to_install(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name="lxml")

    monkeypatch.setattr("node.gateway.work.child.import_module", gone)
    told = perform(bench(house), ReadAnswer(document=b""))
    assert isinstance(told, Fault)
    assert (told.code, told.detail, told.retry) == ("crs-extra-missing", "lxml", False)


def test_only_status_messages_are_taken_from_a_partner(house: House) -> None:
    answer = house.check(house.prepare(m.message())).answer
    message.read_answer(ReadAnswer(document=answer))
    for document in (b"", b"<html/>", answer[:-20], answer.replace(b"Accepted", b"Rejected")):
        with pytest.raises(InvalidStatus):
            message.read_answer(ReadAnswer(document=document))


def connect(house: House, names: Iterable[str], **options: Any) -> None:
    (house.folder / "out" / ASKER).mkdir(exist_ok=True)
    for name in names:
        (house.folder / "out" / ASKER / name).write_text(m.message())
    task = Prepare(
        about=OF_2024,
        rules=CRS if options.pop("is_message", True) else Rules(version=1),
        subjects=(),
        question=b"",
        recipient=PARTNER.public,
        path=str(house.sealed),
        receiving="CN",
    )
    make = message.prepare if task.rules.form else prepare_records
    make(house.setup(), (OWN,), house.connector(**options), task, lambda _: None)


def test_a_source_of_the_other_form_is_refused(house: House) -> None:
    for options in ({"format": "csv"}, {"is_message": False}):
        with pytest.raises(Failed) as caught:
            connect(house, ("m.xml",), **options)
        assert (caught.value.code, caught.value.retry) == ("source-form", False)


def test_one_file_is_one_message(house: House) -> None:
    with pytest.raises(ConnectorFailed) as caught:
        connect(house, ("a.xml", "b.xml"))
    assert caught.value.code == "files-many"
