"""Why the daemon does not start, as people and programs are told: in words, with a code."""

import datetime as dt
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from node import daemon
from node.activation import STORE, WAL
from node.config import read_config
from node.words import EXIT_FAILED, catalogue
from tools.founding import read_source
from tools.localnet import Localnet, create_network, shipped_policy_set


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """Configuration of a node that was never started."""
    local: Localnet = create_network(
        tmp_path / "net",
        source=read_source(),
        nodes=4,
        policy_set=shipped_policy_set(),
        now=dt.datetime.now(dt.UTC),
    )
    yield local.node_directory(local.members[0]) / "node.toml"
    structlog.reset_defaults()


def activated(config: Path) -> Path:
    """The data directory of the node, whose key was activated."""
    assert daemon.activate_key(config) == 0
    return config.parent / "data"


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def occupy_store(config: Path) -> None:
    (activated(config) / STORE).write_bytes(b"no folder")


def change_engine(config: Path) -> None:
    store = activated(config) / STORE
    store.mkdir()
    (store / "ENGINE").write_bytes(b"none of ours\n")


def damage_votes(config: Path) -> None:
    for path in (activated(config) / WAL).glob("*.wal"):
        path.write_bytes(b"XX")


def break_api_tls(config: Path) -> None:
    activated(config)
    edit(config, 'tls_certificate = ""\ntls_key = ""', 'tls_certificate = "a"\ntls_key = "b"')


def turn_into_gibberish(config: Path) -> None:
    edit(config, "[limits]", "[limit]")


BROKEN: list[tuple[Callable[[Path], object], str, str]] = [
    (occupy_store, "start-store-unusable", "data/store"),
    (change_engine, "start-store-damaged", "data/store"),
    (damage_votes, "start-votes-damaged", "data/wal"),
    (break_api_tls, "start-api-tls", "tls_certificate"),
    (turn_into_gibberish, "start-config-invalid", "[limit]"),
]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row[0].__name__)
def test_a_start_is_refused_in_words(
    config: Path,
    row: tuple[Callable[[Path], object], str, str],
    language: daemon.Language,
    capsys: pytest.CaptureFixture[str],
) -> None:
    break_it, code, named = row
    break_it(config)
    capsys.readouterr()
    assert daemon.run(config, language) == EXIT_FAILED
    told = capsys.readouterr().err
    title = catalogue(language)["starts"][code]["title"]
    assert f"\n{told}".rpartition("\ntally node: ")[2].startswith(title)
    assert f"[{code}]" in told
    assert named in told


@pytest.mark.parametrize("section", ["api", "metrics"])
def test_an_address_that_is_taken(
    config: Path, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    activated(config)
    listen = read_config(config)[section, "listen"]
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((listen.host, listen.port))
        holder.listen()
        assert daemon.run(config, "zh") == EXIT_FAILED
    told = capsys.readouterr().err
    assert "[start-api-address]" in told
    assert str(listen) in told
    assert "停止占用该端口的程序" in told


def refused(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What a program is told that asked for the activation."""
    capsys.readouterr()
    assert daemon.activate_key(config, "zh") == EXIT_FAILED
    found: dict[str, str] = json.loads(capsys.readouterr().out)["refused"]
    return found


def test_votes_that_cannot_be_written(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = config.parent / "data"
    data.mkdir()
    (data / WAL).write_bytes(b"no folder")
    told = refused(config, capsys)
    assert (told["code"], told["title"]) == ("start-votes-unusable", "无法写入节点的投票记录")
    assert str(data / WAL) in told["detail"]


def test_what_the_system_refuses(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config.parent / "data" / "activation.new"
    path.mkdir(parents=True)
    told = refused(config, capsys)
    assert told["code"] == "start-system-refused"
    assert str(path) in told["detail"]


def test_faults_of_a_configuration_are_told_one_by_one(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turn_into_gibberish(config)
    told = refused(config, capsys)
    assert told["code"] == "start-config-invalid"
    [fault] = told["faults"]
    line = config.read_text().split("\n").index("[limit]") + 1
    assert fault == {"code": "section-unknown", "line": line, "setting": "[limit]"}
    assert f"\n  第 {line} 行：[limit]：未知的节" in told["detail"]


@pytest.mark.parametrize("program", ["node", "node.gateway"])
def test_checks_cannot_be_left_out(config: Path, program: str) -> None:
    command = [sys.executable, "-O", "-m", program, "--config", str(config), "--lang", "zh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == EXIT_FAILED
    assert done.stderr.endswith(
        "Python 以 -O 运行：本程序需要这些检查 [start-optimized]\n"
        "请去掉 -O 和 PYTHONOPTIMIZE 后启动。\n"
    )


def test_tally_hands_its_language_on(config: Path) -> None:
    command = [sys.executable, "-m", "tools.cli", "node", "run", "--config", str(config)]
    environment = {**os.environ, "LC_ALL": "zh_CN.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == EXIT_FAILED
    data = config.parent / "data"
    assert done.stderr.startswith(f"tally node: 共识密钥未在本机启用：{data} 中的 ed25519:")
    assert "[start-key-inactive]\n请执行：tally node activate --config FILE。" in done.stderr
