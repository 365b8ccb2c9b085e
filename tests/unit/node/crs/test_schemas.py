"""A schema folder is what its manifest says, or it is refused by the name of the file."""

import shutil
from pathlib import Path

import pytest

from node.crs.errors import InvalidSchemaFolder
from node.crs.schemas import FILES_MAX, MANIFEST, load_schema, pin_folder
from tests.unit.node.crs.messages import SCHEMA, SCHEMA_FOLDER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SCHEMA_FOLDER, tmp_path / "schema"))


def refusal(folder: Path) -> tuple[str, str]:
    with pytest.raises(InvalidSchemaFolder) as caught:
        load_schema(folder)
    return caught.value.code, caught.value.detail


def repin(folder: Path) -> None:
    (folder / MANIFEST).write_text(pin_folder(folder, "message.xsd"))


def test_the_same_files_are_the_same_schema(folder: Path) -> None:
    assert load_schema(folder).digest == SCHEMA.digest
    assert (folder / MANIFEST).read_text() == pin_folder(folder, "message.xsd")


@pytest.mark.parametrize("name", ["message.xsd", "common.xsd"])
def test_a_changed_file_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    code, detail = refusal(folder)
    assert code == "xsd-changed"
    assert detail.startswith(f"{name}: ")


def test_a_missing_file_is_refused_by_name(folder: Path) -> None:
    (folder / "common.xsd").unlink()
    assert refusal(folder) == ("xsd-missing", "common.xsd")


def test_a_file_that_is_not_listed_is_not_read(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    lines = [line for line in text.split("\n") if not line.startswith('"common')]
    (folder / MANIFEST).write_text("\n".join(lines))
    assert refusal(folder) == ("xsd-unlisted", "common.xsd")


@pytest.mark.parametrize("place", ["http://example.invalid/x.xsd", "/etc/passwd", "../x.xsd"])
def test_nothing_is_fetched_from_elsewhere(folder: Path, place: str) -> None:
    text = (folder / "message.xsd").read_text().replace('"common.xsd"', f'"{place}"')
    (folder / "message.xsd").write_text(text)
    repin(folder)
    assert refusal(folder) == ("xsd-unlisted", place.rpartition("/")[2])


def test_a_schema_with_entities_is_refused(folder: Path) -> None:
    (folder / "common.xsd").write_text('<!DOCTYPE a [<!ENTITY x "y">]><a/>')
    repin(folder)
    assert refusal(folder) == ("crs-xml-doctype", "common.xsd, line 1")


def test_what_is_no_schema_is_refused(folder: Path) -> None:
    (folder / "message.xsd").write_text("<a/>")
    repin(folder)
    assert refusal(folder)[0] == "xsd-invalid"


def test_a_folder_without_a_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert refusal(folder) == ("xsd-manifest-missing", MANIFEST)


@pytest.mark.parametrize(
    "text",
    [
        "", "root = 1", 'root = "a.xsd"\n[files]\n', 'root = "a.xsd"\n[files]\n"b.xsd" = "00"',
        'root = "../a.xsd"\n[files]\n"../a.xsd" = "00"', 'root = "a.xsd"\n[files]\n"a.xsd" = 1',
        'root = "a.txt"\n[files]\n"a.txt" = "00"',
        'more = 1\nroot = "a.xsd"\n[files]\n"a.xsd" = ""',
        "root = ", "files = []\nroot = 'a.xsd'",
    ],
)  # fmt: skip
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    assert refusal(folder) == ("xsd-manifest-invalid", MANIFEST)


def test_a_folder_is_pinned_with_its_root_in_it(folder: Path) -> None:
    with pytest.raises(InvalidSchemaFolder, match=r"xsd-missing: other\.xsd"):
        pin_folder(folder, "other.xsd")
    for number in range(FILES_MAX):
        (folder / f"{number}.xsd").touch()
    with pytest.raises(InvalidSchemaFolder, match="xsd-many"):
        pin_folder(folder, "message.xsd")
