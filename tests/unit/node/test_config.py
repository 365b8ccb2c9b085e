"""The configuration: every fault at once, each with its line and key."""

from importlib.resources import files
from pathlib import Path

import pytest

from node.config import SETTINGS, Address, Config, read_config
from tests.refusals import faults_of, tell_faults

GOOD = """\
[node]
member = "north"
genesis = "genesis.json"

[peers]
listen = "127.0.0.1:7000"

[peers.addresses]
"south" = "10.0.0.2:7000"

[api]
listen = "127.0.0.1:8000"
"""


def read(folder: Path, text: str) -> Config:
    file = folder / "node.toml"
    file.write_text(text)
    return read_config(file)


def faults(folder: Path, text: str) -> list[str]:
    return tell_faults(faults_of(lambda: read(folder, text)))


def test_what_is_given_and_the_defaults_of_the_rest(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config["node", "member"] == "north"
    assert config["peers", "addresses"] == {"south": Address("10.0.0.2", 7000)}
    assert config["limits", "connections_max"] == 512
    assert config.path("node", "genesis") == (tmp_path / "genesis.json").resolve()


def test_the_sample_has_no_faults_and_names_every_setting() -> None:
    sample = files("config") / "node.toml"
    read_config(Path(str(sample)))
    text = sample.read_text()
    assert [each.key for each in SETTINGS if each.key not in text] == []


def test_all_faults_come_at_once_with_line_and_key(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        GOOD.replace('listen = "127.0.0.1:8000"', 'listen = "nowhere"\nlistn = 1')
        + "[limits]\nconnections_max = 7\npending_events_max = true\n[odd]\nx = 1\n",
    )
    wanted = "must be a whole number from"
    assert sorted(found) == [
        'line 12: [api] listen: must read "host:port" [address-malformed]',
        "line 13: [api] listn: unknown key [setting-unknown]",
        f"line 15: [limits] connections_max: {wanted} 8 to 65536 [count-wanted]",
        f"line 16: [limits] pending_events_max: {wanted} 100 to 1000000 [count-wanted]",
        "line 17: [odd]: unknown section [section-unknown]",
    ]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD.replace('member = "north"\n', "")) == [
        "[node] member: missing (member id of this node) [setting-missing]"
    ]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('member = "north"', 'member = ""', "text-empty"),
        ('member = "north"', "member = 5", "text-empty"),
        ('member = "north"', 'member = "north"\nreplaces = 1', "flag-wanted"),
        ('member = "north"', 'member = "north"\nstorage = "disk"', "choice-unknown"),
        ("7000", "70000", "address-malformed"),
        ("7000", "-1", "address-malformed"),
        ("127.0.0.1:8000", "127.0.0.1:", "address-malformed"),
        ('"10.0.0.2:7000"', "7", "text-empty"),
        ('[peers.addresses]\n"south" = "10.0.0.2:7000"', "addresses = 1", "addresses-malformed"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(
    tmp_path: Path, old: str, new: str, code: str
) -> None:
    told = faults(tmp_path, GOOD.replace(old, new))
    assert told
    assert all(fault.startswith("line ") and fault.endswith(f" [{code}]") for fault in told)


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    assert any("logging" in fault for fault in faults(tmp_path, "logging = 1\n" + GOOD))


def test_an_interface_that_others_reach_needs_tls(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, GOOD.replace("127.0.0.1:8000", "0.0.0.0:8000"))
    assert fault.startswith("line 12: [api] listen: ")
    assert fault.endswith(" [tls-missing]")
    (fault,) = faults(tmp_path, GOOD + 'tls_key = "key.pem"\n')
    assert fault == "[api] tls_certificate, tls_key: set both or none [both-or-none]"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xfe", "config-no-toml"),
        (b"[node", "config-no-toml"),
        (b"#" * 1_048_577, "config-too-large"),
    ],
    ids=["a", "b", "c"],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "node.toml").write_bytes(data)
    (fault,) = faults_of(lambda: read_config(tmp_path / "node.toml"))
    assert fault.code == code


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (fault,) = tell_faults(faults_of(lambda: read_config(tmp_path / "none.toml")))
    assert fault == "cannot be read: No such file or directory [config-unreadable]"
