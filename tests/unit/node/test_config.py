"""The configuration: every fault at once, each with its line and key."""

from importlib.resources import files
from pathlib import Path

import pytest

from node.config import SETTINGS, Address, Config, read_config
from node.errors import InvalidConfig

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


def faults(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(InvalidConfig) as caught:
        read(folder, text)
    assert str(folder / "node.toml") in str(caught.value)
    return caught.value.faults


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
    assert sorted(found) == [
        'line 12: [api] listen: must read "host:port"',
        "line 13: [api] listn: unknown key",
        "line 15: [limits] connections_max: must be a whole number from 8 to 65536",
        "line 16: [limits] pending_events_max: must be a whole number from 100 to 1000000",
        "line 17: [odd]: unknown section",
    ]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD.replace('member = "north"\n', "")) == (
        "[node] member: missing (member id of this node)",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('member = "north"', 'member = ""'),
        ('member = "north"', "member = 5"),
        ("7000", "70000"),
        ("7000", "-1"),
        ("127.0.0.1:8000", "127.0.0.1:"),
        ('"10.0.0.2:7000"', "7"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert len(faults(tmp_path, GOOD.replace(old, new))) >= 1


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    assert any("logging" in fault for fault in faults(tmp_path, "logging = 1\n" + GOOD))


def test_an_interface_that_others_reach_needs_tls(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, GOOD.replace("127.0.0.1:8000", "0.0.0.0:8000"))
    assert fault.startswith("line 12: [api] listen: ")
    (fault,) = faults(tmp_path, GOOD + 'tls_key = "key.pem"\n')
    assert "set both or none" in fault


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[node", b"#" * 1_048_577], ids=["a", "b", "c"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "node.toml").write_bytes(data)
    with pytest.raises(InvalidConfig) as caught:
        read_config(tmp_path / "node.toml")
    assert len(caught.value.faults) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_config(tmp_path / "none.toml")
