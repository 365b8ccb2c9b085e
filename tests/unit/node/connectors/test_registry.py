"""Connectors and receivers by name: ours, installed plug-ins, and what is wrong with some."""

import sys
from pathlib import Path
from typing import Any

import pytest

from node.connectors.errors import InvalidOptions
from node.connectors.folder import FolderConnector
from node.connectors.inbox import FolderReceiver
from node.connectors.registry import CONNECTORS, RECEIVERS, load_connector, load_receiver

GOOD = """
class Good:
    def __init__(self, options, base):
        self.made_of = options, base
    def check(self): pass
    def read(self, ask): pass
    def receive(self, delivery): pass
    def erase(self, exchange): pass
    def close(self): pass

class Silent:
    def __init__(self, options, base): pass

class Broken:
    def __init__(self, options, base):
        raise KeyError(options["token"])

thing = 3
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a plug-in as pip does: a module, and metadata beside it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(module: str, source: str, points: str) -> None:
        (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def refusal(name: str, load: Any = load_connector, **options: Any) -> tuple[str, str]:
    with pytest.raises(InvalidOptions) as caught:
        load(name, options, Path())
    return caught.value.code, caught.value.detail


def test_ours_are_found_without_metadata(tmp_path: Path) -> None:
    options = {"path": "in", "files": "*", "format": "csv"}
    assert isinstance(load_connector("folder", options, tmp_path), FolderConnector)
    assert isinstance(load_receiver("folder", {"path": "in"}, tmp_path), FolderReceiver)


def test_an_unknown_name_lists_the_known_ones(installed: Any) -> None:
    installed("good_plugin", GOOD, "[tallystick.connectors]\ncrs = good_plugin:Good\n")
    assert refusal("fodler") == ("plugin-unknown", "fodler (crs, folder, http, sql)")
    assert refusal("crs", load_receiver) == ("plugin-unknown", "crs (folder, http)")
    assert sorted(CONNECTORS) == ["folder", "http", "sql"]
    assert sorted(RECEIVERS) == ["folder", "http"]


def test_a_plug_in_is_made_with_its_options(installed: Any, tmp_path: Path) -> None:
    points = (
        "[tallystick.connectors]\ncrs = good_plugin:Good\n"
        "[tallystick.receivers]\ncrs = good_plugin:Good\n"
    )
    installed("good_plugin", GOOD, points)
    for load in (load_connector, load_receiver):
        made: Any = load("crs", {"a": 1}, tmp_path)
        assert made.made_of == ({"a": 1}, tmp_path)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import no_such_library", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_one_clear_error(
    installed: Any, source: str, kind: str
) -> None:
    installed("bad_plugin", source, "[tallystick.connectors]\nbad = bad_plugin:Made\n")
    assert refusal("bad") == ("plugin-broken", f"bad: bad_plugin: {kind}")


def test_a_plug_in_that_is_none(installed: Any) -> None:
    points = (
        "[tallystick.connectors]\nsilent = odd_plugin:Silent\nnumber = odd_plugin:thing\n"
        "broken = odd_plugin:Broken\nfolder = odd_plugin:Good\n"
        "[tallystick.receivers]\nsilent = odd_plugin:Silent\n"
    )
    installed("odd_plugin", GOOD, points)
    assert refusal("silent") == ("plugin-interface", "silent: check, read, close")
    assert refusal("silent", load_receiver) == (
        "plugin-interface",
        "silent: check, receive, erase, close",
    )
    assert refusal("number") == ("plugin-broken", "number: odd_plugin: odd_plugin:thing")
    assert refusal("folder") == ("plugin-repeated", "folder: odd_plugin")
    code, detail = refusal("broken", token="hunter2")
    assert (code, detail) == ("plugin-broken", "broken: odd_plugin: KeyError")


def test_two_plug_ins_of_one_name(installed: Any) -> None:
    installed("one_plugin", GOOD, "[tallystick.connectors]\ncrs = one_plugin:Good\n")
    installed("two_plugin", GOOD, "[tallystick.connectors]\ncrs = two_plugin:Good\n")
    code, detail = refusal("crs")
    assert code == "plugin-repeated"
    assert set(detail.removeprefix("crs: ").split(", ")) == {"one_plugin", "two_plugin"}


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONNECTORS, "sql", ("node.connectors.no_such", "SqlConnector"))
    assert refusal("sql") == ("library-missing", "sql: node.connectors.no_such")
