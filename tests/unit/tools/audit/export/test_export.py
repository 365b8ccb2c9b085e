"""`tally audit export`: every form against the log itself."""

import codecs
import csv
import datetime as dt
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner
from jsonschema.validators import validator_for

from contracts.lookup import find_exchange
from ledger.blocks import RECORDS, Obligations, Outcome, is_header
from ledger.events import Event, ShareOpening, parse_event
from ledger.keys import format_public_key
from tests.builders import OWNER
from tests.unit.tools.audit.quarter import OTHER, rich, write
from tests.unit.tools.test_epochs import code_of, tally
from tools.audit.export import sheets, tables
from tools.audit.export.prov import ATTRIBUTES
from tools.audit.export.records import Row
from tools.audit.export.sheets import write_csv
from tools.audit.export.statements import (
    CONTEXT,
    CONTEXT_URL,
    INT_MAX,
    TYPES,
    VOCABULARY,
    ProvJson,
    ProvJsonLd,
)
from tools.cli import main
from tools.exits import ERROR, OK, UNVERIFIED, USAGE
from tools.output import user_agent

prov_model = pytest.importorskip("prov.model")
provjsonld = pytest.importorskip("prov.serializers.provjsonld")
jsonld = pytest.importorskip("pyld.jsonld")
rdflib = pytest.importorskip("rdflib")
pytest.importorskip("rdflib.compare")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("copy"))


def logged() -> list[tuple[int, Event, Outcome]]:
    """Index, event and outcome of every record, read without the code under test."""
    found = []
    for index, entry in enumerate(rich().entries):
        if not is_header(entry):
            record = RECORDS.decode(entry)
            found.append((index, parse_event(record.event), record.outcome))
    return found


def exported(copy: Path, format_: str, *options: object) -> bytes:
    arguments = ["audit", "export", copy, "--format", format_, "--jobs", 1, *options]
    shown = CliRunner().invoke(main, [*map(str, arguments)])
    assert shown.exit_code == OK, shown.output
    return shown.stdout_bytes


def rows(copy: Path, *options: object) -> list[dict[str, str]]:
    text = exported(copy, "csv", *options).decode()
    assert "\r\n" in text
    return list(csv.DictReader(io.StringIO(text, newline="")))


# --- CSV ---------------------------------------------------------------------------------------


def test_a_row_of_csv_says_what_the_record_says(copy: Path) -> None:
    found = rows(copy)
    assert len(found) == len(logged())
    for row, (index, event, outcome) in zip(found, logged(), strict=True):
        assert int(row["index"]) == index
        assert (row["kind"], row["member"]) == (event.kind, event.member)
        assert row["digest"] == event.digest.hex()
        assert row["officer"] == format_public_key(event.officer)
        assert row["applied"] == str(outcome.applied).lower()
        assert (row["code"], row["decision"]) == (outcome.code, outcome.decision)
        assert row["contracts"].split() == list(outcome.policies)
        duties = outcome.obligations
        assert row["deadline_hours"] == (str(duties.deadline_hours) if duties else "")
        assert msgspec.json.decode(row["body"]) == json.loads(tables.encode_body(event.body))
    assert {row["provider"] for row in found if row["kind"].startswith("share.")} == {OWNER}
    assert [row["provider"] for row in found if row["kind"] == "drill.run"] == ["", ""]


def test_a_row_tells_the_duties_of_a_decision() -> None:
    index, event, outcome = next(each for each in logged() if each[2].obligations)
    duties = Obligations(redact=("name", "uscc"), deadline_hours=7, retention_days=9)
    decided = msgspec.structs.replace(outcome, obligations=duties)
    row = Row(index=index, height=1, time_ms=0, event=event, outcome=decided, is_wanted=True)
    cells = tables.RecordRows().row(row)
    told = dict(zip((column.name for column in tables.RECORDS.columns), cells, strict=True))
    assert {name: told[name] for name in duties.__struct_fields__} == msgspec.structs.asdict(duties)


@pytest.mark.parametrize("table", tables.TABLES)
def test_a_table_for_excel_says_the_same(copy: Path, table: str) -> None:
    """Excel takes UTF-8 without a mark for the code page of the system, and a zone for text."""
    plain, data = rows(copy, "--table", table), exported(copy, "csv", "--table", table, "--excel")
    assert data.startswith(codecs.BOM_UTF8)
    found = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    times = [column.name for column in tables.TABLES[table].columns if column.type == "time"]
    for one, other in zip(found, plain, strict=True):
        for name in times:
            if other[name]:
                assert one[name] == f"{dt.datetime.fromisoformat(other[name]):%Y-%m-%d %H:%M:%S}"
        assert {**one, **dict.fromkeys(times)} == {**other, **dict.fromkeys(times)}


@pytest.mark.parametrize(("extra", "chars"), [(0, 32_767), (1, 32_767), (20_000, 32_767)])
def test_a_cell_for_excel_does_not_spill_into_the_next_row(extra: int, chars: int) -> None:
    table = tables.Table(name="t", version=1, columns=(tables.RECORDS.columns[-1],))
    text, file = "x" * (32_767 + extra), io.BytesIO()
    write_csv(table, iter([(text,)]), file, for_excel=True)
    (row,) = list(csv.reader(io.StringIO(file.getvalue().decode("utf-8-sig"), newline="")))[1:]
    assert len(row[0]) == chars
    assert row[0].endswith("…") == bool(extra)


def test_no_cell_is_a_formula_of_a_spreadsheet(copy: Path) -> None:
    for row in (*rows(copy), *rows(copy, "--table", "exchanges")):
        assert not [cell for cell in row.values() if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_a_row_of_an_exchange_says_what_the_state_says(copy: Path) -> None:
    found = rows(copy, "--table", "exchanges")
    opened = [
        event
        for _, event, outcome in logged()
        if isinstance(event.body, ShareOpening) and outcome.applied
    ]
    assert [row["exchange"] for row in found] == [event.digest.hex() for event in opened]
    for row in found:
        exchange = find_exchange(rich().state, bytes.fromhex(row["exchange"]))
        assert exchange is not None
        assert row["status"] == exchange.status
        assert (row["requester"], row["provider"]) == (exchange.requester, exchange.provider)
        assert int(row["subjects"]) == exchange.subject_count
    whole, late = found[0], next(row for row in found if row["requester"] == OTHER)
    assert (whole["opened"], whole["destroyed"]) == (
        "2026-01-01T02:00:00.000Z", "2026-01-21T00:00:00.000Z",
    )  # fmt: skip
    assert (whole["quality"], whole["usefulness"], whole["deliveries"]) == ("4", "5", "1")
    assert late["delivered"] > late["deadline"] > late["opened"]
    review = next(row for row in found if row["rejections"] == "1")
    assert (review["deliveries"], review["decision"]) == ("2", "review")
    assert review["answered"] == review["permitted"] > review["opened"]
    assert review["delivered"] == "2026-02-03T00:00:00.000Z", "the first of two"
    assert [row["gaps"] for row in found if row["gaps"]] == ["permit-without-delivery"]
    offered = next(row for row in found if row["manner"] == "spontaneous")
    assert (offered["corrections"], offered["disputes"]) == ("1", "1")


# --- filters ------------------------------------------------------------------------------------


def test_filters_take_what_a_full_scan_takes(copy: Path) -> None:
    everything = rows(copy)
    kinds = rows(copy, "--kind", "share.received", "--kind", "drill.run")
    assert kinds == [row for row in everything if row["kind"] in ("share.received", "drill.run")]
    days = rows(copy, "--from", "2026-02-02", "--to", "2026-02-04")
    assert days == [row for row in everything if "2026-02-02" <= row["time"][:10] <= "2026-02-04"]
    assert {row["time"][:10] for row in days} == {"2026-02-02", "2026-02-03", "2026-02-04"}
    of_other = rows(copy, "--member", OTHER)
    parties = ("member", "requester", "provider")
    assert of_other == [row for row in everything if OTHER in {row[name] for name in parties}]
    assert {row["member"] for row in of_other} >= {OTHER, OWNER}


@pytest.mark.parametrize("table", tables.TABLES)
def test_rows_from_a_height_on(copy: Path, table: str) -> None:
    """That of the height itself is the first."""
    everything = rows(copy, "--table", table)
    height_of = {row["index"]: int(row["height"]) for row in rows(copy)}
    height = height_of[everything[len(everything) // 2]["index"]]
    found = rows(copy, "--table", table, "--from-height", height)
    assert found == [row for row in everything if height_of[row["index"]] >= height]
    assert height_of[found[0]["index"]] == height > 1


def test_exchanges_are_as_they_were_at_the_end_of_the_period(copy: Path) -> None:
    options = ("--table", "exchanges", "--from", "2026-02-01", "--to", "2026-02-02")
    found = rows(copy, *options)
    assert {row["opened"][:10] for row in found} == {"2026-02-02"}
    assert "in_review" not in {row["status"] for row in found}
    assert "delivered" not in {row["status"] for row in found}
    later = rows(copy, *options[:-1], "2026-02-03")
    assert {row["status"] for row in later} >= {"delivered"}


# --- Parquet ------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", tables.TABLES)
def test_parquet_holds_what_csv_holds(copy: Path, tmp_path: Path, table: str) -> None:
    out = tmp_path / "a.parquet"
    done = tally(
        "audit", "export", copy, "--format", "parquet", "--table", table, "--jobs", 1, "-o", out
    )
    assert done["schema"] == f"{table}/1"
    read = parquet.read_table(out)
    metadata = read.schema.metadata
    assert metadata[b"tallystick.schema"] == f"{table}/1".encode()
    assert metadata[b"tallystick.network"] == rich().network.hex().encode()
    as_csv = rows(copy, "--table", table)
    assert read.num_rows == done["rows"] == len(as_csv)
    for row, line in zip(read.to_pylist(), as_csv, strict=True):
        assert {name: _as_text(value) for name, value in row.items()} == line


def test_parquet_of_more_rows_than_a_group(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "GROUP_ROWS", 7)
    out = tmp_path / "a.parquet"
    done = tally("audit", "export", copy, "--format", "parquet", "--jobs", 1, "-o", out)
    read = parquet.read_table(out)
    assert read.num_rows == done["rows"] == len(logged())
    assert read["index"].to_pylist() == [index for index, _, _ in logged()]


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat(timespec="milliseconds")).replace("+00:00", "Z")
    return str(value)


def test_the_same_copy_gives_the_same_bytes(copy: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = ("--format", "parquet", "--jobs", 1, "-o", tmp_path / name)
        tally("audit", "export", copy, *arguments)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for format_ in ("prov", "prov-jsonld"):
        assert exported(copy, format_) == exported(copy, format_)


# --- PROV ---------------------------------------------------------------------------------------


def document_of(data: bytes, format_: str = "json") -> Any:
    return prov_model.ProvDocument.deserialize(content=data, format=format_)


def test_an_independent_library_reads_the_provenance(copy: Path) -> None:
    data = exported(copy, "prov")
    document = document_of(data)
    kinds = {name: len(list(document.get_records(kind))) for name, kind in _KINDS.items()}
    whole = json.loads(data)
    for name, count in kinds.items():
        assert count == len(whole[name]), name
    assert kinds["activity"] == kinds["wasAssociatedWith"] == len(logged())
    # It gives the same graph after a way through the library's own writer.
    again = prov_model.ProvDocument.deserialize(
        content=document.serialize(format="json"), format="json"
    )
    assert again == document
    assert document.get_provn().startswith("document")


_KINDS = {
    "entity": prov_model.ProvEntity,
    "activity": prov_model.ProvActivity,
    "agent": prov_model.ProvAgent,
    "used": prov_model.ProvUsage,
    "wasGeneratedBy": prov_model.ProvGeneration,
    "wasInvalidatedBy": prov_model.ProvInvalidation,
    "wasAssociatedWith": prov_model.ProvAssociation,
    "wasAttributedTo": prov_model.ProvAttribution,
    "actedOnBehalfOf": prov_model.ProvDelegation,
    "wasDerivedFrom": prov_model.ProvDerivation,
}


def test_every_name_is_declared_and_every_thing_is_made_once(copy: Path) -> None:
    whole = json.loads(exported(copy, "prov"))
    declared = {*whole["entity"], *whole["activity"], *whole["agent"]}
    for section in _KINDS.keys() - {"entity", "activity", "agent"}:
        for relation in whole[section].values():
            for role, name in relation.items():
                assert role in ("prov:time", "prov:type") or name in declared, (section, name)
    generated = [each["prov:entity"] for each in whole["wasGeneratedBy"].values()]
    assert len(generated) == len(set(generated))
    plans = {name for name in whole["entity"] if name.startswith("log:contracts-")}
    assert set(generated) == whole["entity"].keys() - plans


def test_own_attributes_are_those_that_the_schema_names(copy: Path) -> None:
    whole = json.loads(exported(copy, "prov"))
    carriers = {"event": "activity"}
    used = {
        (key, carriers.get(kind, kind), "yes-no" if isinstance(value, bool) else
         "integer" if isinstance(value, int) else "text")
        for section in ("entity", "activity", "agent")
        for name, about in whole[section].items()
        for kind in [name.removeprefix("log:").partition("-")[0]]
        for key, value in about.items()
        if key.startswith("tally:")
    }  # fmt: skip
    assert used == {(f"tally:{name}", of, type_) for name, of, type_, _, _ in ATTRIBUTES}


def test_the_way_of_the_data_can_be_followed(copy: Path) -> None:
    whole = json.loads(exported(copy, "prov"))
    destroyed = [each["prov:entity"] for each in whole["wasInvalidatedBy"].values()]
    source = {
        each["prov:generatedEntity"]: each["prov:usedEntity"]
        for each in whole["wasDerivedFrom"].values()
    }
    (copied,) = destroyed
    onward = next(name for name in source if source[name] == copied)
    assert onward.endswith(OTHER)
    assert source[copied].startswith("log:delivery-")
    revisions = [each for each in whole["wasDerivedFrom"].values() if "prov:type" in each]
    assert len(revisions) == 1


def test_a_copy_is_of_the_delivery_that_was_received(copy: Path) -> None:
    """Not of one that was rejected before it."""
    whole = json.loads(exported(copy, "prov"))
    (rejected,) = (event for _, event, _ in logged() if event.kind == "share.rejected")
    delivered = ("share.delivered", rejected.exchange)
    places = [index for index, event, _ in logged() if (event.kind, event.exchange) == delivered]
    (source,) = (each["prov:usedEntity"] for each in whole["wasDerivedFrom"].values()
                 if rejected.exchange.hex() in each["prov:generatedEntity"])  # fmt: skip
    assert len(places) == 2
    assert source == f"log:delivery-{places[1]}"


@pytest.mark.parametrize("form", [ProvJson, ProvJsonLd])
def test_what_broke_off_is_no_document(form: Callable[..., Any]) -> None:
    file = io.BytesIO()
    with suppress(ZeroDivisionError), form({"tally": VOCABULARY}, file) as told:
        told.tell("entity", "tally:a", {})
        raise ZeroDivisionError
    with pytest.raises(json.JSONDecodeError):
        json.loads(file.getvalue())


def test_what_was_not_applied_made_and_used_nothing(copy: Path) -> None:
    whole = json.loads(exported(copy, "prov"))
    (refused,) = [name for name, each in whole["activity"].items() if not each["tally:applied"]]
    assert whole["activity"][refused]["tally:code"] == "exchange-state"
    told = [*whole["used"].values(), *whole["wasGeneratedBy"].values()]
    assert refused not in {each["prov:activity"] for each in told}


def test_a_part_names_what_came_before_it(copy: Path) -> None:
    whole = json.loads(exported(copy, "prov", "--kind", "share.received"))
    assert len(whole["activity"]) == 4
    assert {each["prov:activity"] for each in whole["used"].values()} == whole["activity"].keys()
    made = {each["prov:activity"] for each in whole["wasGeneratedBy"].values()}
    assert made == whole["activity"].keys()
    assert {name.partition("-")[0] for name in whole["entity"]} == {"log:copy"}
    assert document_of(json.dumps(whole).encode())


# --- PROV-JSONLD --------------------------------------------------------------------------------


def graph_of(data: bytes, *, context: Any = None) -> Any:
    """RDF that a processor of JSON-LD makes; `context` is all that it finds on the network."""

    def load(url: str, options: Any) -> Any:
        del options
        assert url == CONTEXT_URL
        assert context is not None, "this document needs no network"
        return {"contextUrl": None, "documentUrl": url, "document": {"@context": context}}

    options = {"format": "application/n-quads", "documentLoader": load}
    return rdflib.Graph().parse(data=jsonld.to_rdf(json.loads(data), options), format="nt")


def test_both_forms_of_provenance_say_the_same(copy: Path) -> None:
    linked = exported(copy, "prov-jsonld")
    assert document_of(linked, "jsonld") == document_of(exported(copy, "prov"))
    assert document_of(exported(copy, "prov-jsonld", "--inline"), "jsonld") == document_of(
        linked, "jsonld"
    )
    types = Counter(each["@type"] for each in json.loads(linked)["@graph"])
    whole = json.loads(exported(copy, "prov"))
    assert types == {type_: len(whole[section]) for section, type_ in TYPES.items()}


def test_provenance_as_linked_data_is_the_same_provenance(copy: Path) -> None:
    """JSON-LD to RDF by one library, RDF to PROV by another: what PROV-JSON says comes out."""
    official = provjsonld.load_vendored_context()
    graph = graph_of(exported(copy, "prov-jsonld"), context=official)
    turtle = graph.serialize(format="turtle")
    read = prov_model.ProvDocument.deserialize(content=turtle, format="rdf", rdf_format="turtle")
    assert read == document_of(exported(copy, "prov"))
    assert len(read.get_records()) > 200


def test_the_context_in_the_document_means_what_the_official_one_means(copy: Path) -> None:
    official = provjsonld.load_vendored_context()
    referred = graph_of(exported(copy, "prov-jsonld"), context=official)
    inline = graph_of(exported(copy, "prov-jsonld", "--inline"))
    assert rdflib.compare.isomorphic(referred, inline)
    for term, meaning in CONTEXT.items():
        if isinstance(meaning, dict):
            known = official[term]
            assert meaning["@id"] == known["@id"]
            scoped = meaning.get("@context", {})
            assert scoped.items() <= known.get("@context", {}).items(), term


def test_linked_statements_keep_to_the_form_of_the_submission(copy: Path) -> None:
    """Names and times are texts, everything else is an array; a context is a text or prefixes."""
    whole = json.loads(exported(copy, "prov-jsonld"))
    prefixes, context = whole["@context"]
    assert context == CONTEXT_URL
    assert all(isinstance(value, str) for value in prefixes.values())
    for statement in whole["@graph"]:
        has_name = statement["@type"] in ("Entity", "Activity", "Agent")
        assert ("@id" in statement) == has_name
        for key, value in statement.items():
            assert isinstance(value, list) == (key == "type" or ":" in key), key


def test_large_numbers_are_typed_as_what_they_are() -> None:
    file = io.BytesIO()
    with ProvJsonLd({"tally": VOCABULARY}, file) as form:
        form.tell("entity", "tally:a", {"tally:most": INT_MAX, "tally:more": INT_MAX + 1})
    (statement,) = json.loads(file.getvalue())["@graph"]
    assert statement["tally:most"] == [{"@value": "2147483647", "@type": "xsd:int"}]
    assert statement["tally:more"] == [{"@value": "2147483648", "@type": "xsd:long"}]


# --- schemas and reading from a node --------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "schema"), [("prov", "prov-json"), ("prov-jsonld", "prov-jsonld")]
)
def test_provenance_keeps_to_the_published_schema(copy: Path, format_: str, schema: str) -> None:
    """The schemas of the submissions, as the library brings them for its own tests."""
    path = files("prov.tests") / "schemas" / f"{schema}.schema.json"
    if not path.is_file():
        pytest.skip(f"this release of prov brings no {path.name}")
    validator = validator_for(known := json.loads(path.read_text("utf-8")))(known)
    document = json.loads(exported(copy, format_))
    assert [error.message for error in validator.iter_errors(document)] == []
    section = "@graph" if schema == "prov-jsonld" else "used"
    assert list(validator.iter_errors({**document, section: 1})), "the schema looks at it"


def test_a_node_sees_which_command_reads_it() -> None:
    """This is what stands in its access log; a library of somebody else has the bare name."""
    seen: list[str] = []
    group = click.Group("audit", commands=[click.Command("export", callback=seen_by(seen))])
    program = click.Group("tally", commands=[group])
    assert CliRunner().invoke(program, ["audit", "export"]).exit_code == OK
    assert seen == ["tallystick audit export"]
    assert user_agent() == "tallystick"


def seen_by(seen: list[str]) -> Callable[[], None]:
    return lambda: seen.append(user_agent())


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--format", "prov", "--table", "records"), "export-no-table"),
        (("--format", "cloudevents", "--table", "records"), "export-no-table"),
        (
            ("--format", "csv", "--table", "exchanges", "--kind", "share.used"),
            "export-no-kinds",
        ),
        (("--format", "parquet"), "export-needs-file"),
        (("--format", "prov", "--inline"), "export-no-context"),
        (("--format", "parquet", "--excel", "-o", "a"), "export-not-excel"),
        (("--format", "prov-jsonld", "--table", "records"), "export-no-table"),
        (("--format", "csv", "--from", "2026-02-02", "--to", "2026-02-01"), "period-reversed"),
        (("--format", "csv", "--from", "2026-2-2"), "date-invalid"),
        (("--format", "csv", "--to", "1969-12-31"), "date-invalid"),
    ],
)
def test_what_does_not_go_together_is_refused(
    copy: Path, options: tuple[str, ...], code: str
) -> None:
    assert code_of(tally("audit", "export", copy, *options, exit_code=USAGE)) == code


@pytest.mark.parametrize("table", tables.TABLES)
def test_a_copy_that_diverges_leaves_no_file(tmp_path: Path, table: str) -> None:
    forged = write(tmp_path / "copy")
    (tile,) = (path for path in (forged / "tile" / "entries").rglob("*") if path.is_file())
    data = bytearray(tile.read_bytes())
    data[-3] ^= 1
    tile.write_bytes(data)
    out = tmp_path / "out.csv"
    arguments = ("--format", "csv", "--table", table, "--jobs", 1, "-o", out)
    found = tally("audit", "export", forged, *arguments, exit_code=UNVERIFIED)
    assert code_of(found) == "replay-diverged"
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_nothing_that_fits_is_told(copy: Path, tmp_path: Path) -> None:
    """An empty table looks like an answer; a wrong id or day is likelier."""
    arguments = [
        "audit",
        "export",
        copy,
        "--format",
        "csv",
        "--jobs",
        1,
        "--lang",
        "en",
        "--member",
    ]
    for member, is_told in ((OWNER, False), ("cn-9999-tax", True)):
        out = tmp_path / f"{member}.csv"
        done = CliRunner().invoke(main, [*map(str, [*arguments, member, "-o", out])])
        assert done.exit_code == OK
        assert ("Nothing fits" in done.stderr) == is_told


@pytest.mark.parametrize("command", [("export", "--format", "csv"), ("report",)])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """The copy is not even looked for."""
    (tmp_path / "file").touch()
    for folder in ("none", "file"):
        out = tmp_path / folder / "a.html"
        found = tally("audit", *command, tmp_path / "no-copy", "-o", out, exit_code=ERROR)
        assert code_of(found) == "file-unwritable"
        assert str(out) in found["error"]["detail"]


def test_what_a_killed_export_left_goes_with_the_next(copy: Path, tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    (tmp_path / f".a[1].csv.{dead}").write_text("half")
    (tmp_path / f".b.csv.{dead}").write_text("of another")
    tally("audit", "export", copy, "--format", "csv", "--jobs", 1, "-o", tmp_path / "a[1].csv")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].csv", f".b.csv.{dead}"}
