"""`gateway.toml`: what is good is read, and every fault is named by its section and key."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from node.errors import TokenFailed
from node.gateway import __main__ as gateway
from node.gateway.__main__ import read_place
from node.gateway.config import SETTINGS, read_gateway_config
from node.gateway.service import Keys
from node.gateway.words import describe
from node.gateway.work.tasks import Plug
from node.words import EXIT_FAILED
from tests.builders import OWNER, key_of
from tests.refusals import faults_of as provoke
from tests.refusals import tell_faults
from tools.gateway.making import GatewayPlan, format_config

GOOD = """
[gateway]
member = "cn-3302-tax"
listen = "127.0.0.1:7301"

[datasets.registration]
name = "folder"
options = { path = "records", files = "*.csv", format = "csv" }

[receiver]
name = "http"
options = { url = "https://127.0.0.1/" }

[schedules.monthly]
recipient = "cn-3301-tax"
dataset = "registration"
purpose = "assessment"
legal_basis = "all"
fields = ["uscc"]
every = "month"
day = 15
retention_days = 365

[messages.account]
schema = "crs"
reference_keys = ["reference-2024.key"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def faults_of(folder: Path, text: str) -> str:
    path = write(folder, text)
    return "\n".join(tell_faults(provoke(lambda: read_gateway_config(path))))


def test_a_good_file_is_read_with_its_plugs_and_schedules(tmp_path: Path) -> None:
    config = read_gateway_config(write(tmp_path, GOOD))
    assert config.settings["gateway", "member"] == "cn-3302-tax"
    assert config.connectors["registration"].options["format"] == "csv"
    assert config.receiver == Plug(name="http", options={"url": "https://127.0.0.1/"})
    assert config.schedules["monthly"].every == "month"
    messages = config.messages["account"]
    assert (messages.schema, messages.reference_keys) == ("crs", ("reference-2024.key",))
    assert (messages.environment, messages.holds, messages.rejects, messages.language) == (
        "production", "any", "listed", "en"
    )  # fmt: skip
    place = read_place(config.settings)
    assert place.outbox == tmp_path / "gateway-data" / "outbox"
    assert place.socket == tmp_path / "gateway-data" / "gateway.sock"
    assert (place.outbox_days, place.in_flight_max, place.processes) == (30, 32, 2)
    assert place.memory_bytes_max == 1_024_000_000


def test_what_may_be_left_out_has_a_default(tmp_path: Path) -> None:
    text = '[gateway]\nmember = "cn-3302-tax"\nlisten = "127.0.0.1:0"\n'
    config = read_gateway_config(write(tmp_path, text))
    assert not config.connectors
    assert not config.schedules
    assert not config.messages
    assert config.receiver == Plug(name="folder")


def test_what_the_tools_write_is_good(tmp_path: Path) -> None:
    plan = GatewayPlan(
        member="cn-3302-tax",
        node="https://127.0.0.1:1",
        listen="127.0.0.1:7301",
        datasets={"registration": {"name": "folder", "options": {"path": "a \"b\" 'c' 税"}}},
        receiver={"name": "folder"},
        settings={"gateway": {"outbox_days": 3}, "work": {"processes": 4}},
    )
    config = read_gateway_config(write(tmp_path, format_config(plan)))
    assert config.connectors["registration"].options == {"path": "a \"b\" 'c' 税"}
    assert config.settings["gateway", "outbox_days"] == 3
    assert config.settings["work", "processes"] == 4


WRONG_VALUES = {
    "count": ("0", '"many"', "1.5", "-1", "true", "99999999999999999999"),
    "text": ("1", '""', "[]"),
}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        *(("gateway", "outbox_days", value) for value in WRONG_VALUES["count"]),
        *(("gateway", "in_flight_max", value) for value in WRONG_VALUES["count"]),
        *(("work", "processes", value) for value in WRONG_VALUES["count"]),
        *(("work", "stall_seconds", value) for value in WRONG_VALUES["count"]),
        *(("work", "memory_mb", value) for value in (*WRONG_VALUES["count"], "255")),
        *(("gateway", "node", value) for value in WRONG_VALUES["text"]),
        *(("gateway", "data_dir", value) for value in WRONG_VALUES["text"]),
        *(("keys", "decryption_before", value) for value in ('"a.key"', "[1]", '[""]')),
        ("keys", "officer", "1"),
        ("logging", "level", '"loud"'),
        ("gateway", "color", '"red"'),
        ("keys", "password", '"secret"'),
    ],
)
def test_every_wrong_value_is_named_by_section_and_key(
    tmp_path: Path, section: str, key: str, value: str
) -> None:
    text = '[gateway]\nmember = "cn-3302-tax"\nlisten = "127.0.0.1:0"\n'
    head = "" if section == "gateway" else f"[{section}]\n"
    told = faults_of(tmp_path, f"{text}{head}{key} = {value}\n")
    assert f"[{section}] {key}" in told
    assert key != "decryption_before" or told.endswith(" [paths-wanted]")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('member = "cn-3302-tax"', "", "[gateway] member"),
        ('listen = "127.0.0.1:7301"', "", "[gateway] listen"),
        ('listen = "127.0.0.1:7301"', 'listen = "7301"', "[gateway] listen"),
        ('name = "folder"', "", "[datasets]"),
        ('name = "folder"', 'name = "folder"\ncolor = "red"', "[datasets]"),
        ('name = "http"', "name = 1", "[receiver]"),
        ('every = "month"', 'every = "week"', "[schedules]"),
        ("day = 15", "day = 29", "[schedules]"),
        ("day = 15", "day = 0", "[schedules]"),
        ('fields = ["uscc"]', "fields = []", "[schedules]"),
        ('recipient = "cn-3301-tax"', 'recipient = "Not An Id"', "[schedules]"),
        ("retention_days = 365", "", "[schedules]"),
        ('schema = "crs"', "", "[messages]"),
        ('schema = "crs"', 'schema = "crs"\nholds = "most"', "[messages]"),
        ('schema = "crs"', 'schema = "crs"\nrejects = "none"', "[messages]"),
        ('schema = "crs"', 'schema = "crs"\nenvironment = "live"', "[messages]"),
        ('schema = "crs"', 'schema = "crs"\ncolor = "red"', "[messages]"),
        ('["reference-2024.key"]', '"reference-2024.key"', "[messages]"),
        ("[gateway]", "[gatevay]", "gatevay"),
    ],
)
def test_every_fault_of_a_table_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in GOOD
    assert named in faults_of(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize("name", ["receiver", "datasets", "schedules", "messages"])
@pytest.mark.parametrize("value", ["1", '"text"', "[1]"])
def test_a_table_that_is_none_is_a_fault_too(tmp_path: Path, name: str, value: str) -> None:
    text = f'{name} = {value}\n[gateway]\nmember = "a"\nlisten = "127.0.0.1:0"\n'
    assert f"[{name}]" in faults_of(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = "[gateway]\noutbox_days = 0\n[receiver]\nname = 1\n[schedules.a]\nday = 1\n"
    told = faults_of(tmp_path, text)
    for named in ("member", "listen", "outbox_days", "[receiver]", "[schedules]"):
        assert named in told


@pytest.mark.parametrize("text", ["not toml", "[gateway\n", "a = 1\na = 2\n"])
def test_what_is_no_toml_is_a_fault_not_a_crash(tmp_path: Path, text: str) -> None:
    assert faults_of(tmp_path, text)


def test_every_setting_has_words_in_both_languages() -> None:
    for setting in SETTINGS:
        assert setting.zh
        assert setting.en


def test_messages_without_their_libraries_do_not_start_and_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gateway, "find_spec", lambda _: None)
    path = write(tmp_path, GOOD)
    assert gateway.run(path, "zh") == EXIT_FAILED
    told = capsys.readouterr().err
    assert "pip install 'tallystick[crs]'" in told
    assert "[crs-extra-missing]" in told
    assert "安装" in told


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a start changes in this process is changed back; its keys are any."""
    keys = Keys(officer=key_of(OWNER, "provider"), seeds=(), certificate_file="", key_file="")
    monkeypatch.setattr(gateway, "read_keys", lambda _: keys)
    before = os.umask(0o022)
    yield
    structlog.reset_defaults()
    os.umask(before)


@pytest.mark.usefixtures("starting")
def test_a_node_that_does_not_answer_keeps_the_gateway_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace("[gateway]", '[gateway]\nnode = "http://127.0.0.1:1"')
    assert gateway.run(write(tmp_path, text), "zh") == EXIT_FAILED
    told = capsys.readouterr().err
    assert told.startswith(f"tally gateway: {describe('node-unreachable', '', 'zh').title}：")
    assert "http://127.0.0.1:1" in told
    assert "[node-unreachable]\n" in told


@pytest.mark.usefixtures("starting")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TokenFailed("the token of the officer key failed"), "start-token-failed"),
        (PermissionError(13, "Permission denied", "/a"), "start-system-refused"),
    ],
)
def test_what_ends_a_gateway_at_its_start_has_a_code(
    tmp_path: Path,
    error: Exception,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def serve(*_: object) -> None:
        raise error

    monkeypatch.setattr(gateway, "serve", serve)
    assert gateway.run(write(tmp_path, GOOD), "zh") == EXIT_FAILED
    told = capsys.readouterr().err
    assert f"[{code}]\n" in told
    assert "没有权限" in told or str(error) in told


@pytest.mark.usefixtures("starting")
def test_a_disk_without_room_ends_the_gateway_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(gateway, "serve", serve)
    assert gateway.run(write(tmp_path, GOOD)) == EXIT_FAILED
    folder = tmp_path / "gateway-data"
    told = capsys.readouterr().err
    assert "database or disk is full [start-jobs-unwritable]" in told
    assert str(folder) in told
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
