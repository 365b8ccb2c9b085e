"""`tally audit watch` as it is run: what it prints, its exit codes, and what it refuses."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ledger.genesis import encode_genesis_json
from tests.unit.ledger.builders import make_chain, make_genesis
from tests.unit.tools.audit.test_watch import alarms, forks, tally
from tests.unit.tools.mirror.servers import listening, log_server
from tests.unit.tools.test_epochs import node_of
from tools.cli import main
from tools.exits import ERROR, OK, UNREACHABLE, UNVERIFIED, USAGE
from tools.mirror import held


def watch(*arguments: object, exit_code: int = OK) -> list[str]:
    """Kinds of the lines that looking once prints."""
    result = CliRunner().invoke(
        main, ["audit", "watch", *map(str, arguments), "--once", "--lang", "zh", "--json"]
    )
    assert result.exit_code == exit_code, result.output
    lines = [json.loads(line) for line in result.stdout.split("\n") if line.startswith('{"time')]
    return [line["event"] for line in lines]


def test_the_command_looks_once(tmp_path: Path) -> None:
    chain, second = forks([200, 99], [299])
    keep = ("--state", tmp_path / "watch.json")
    with node_of(chain) as first, node_of(second) as other:
        assert watch(first, *keep) == ["consistent"]
        assert watch(first, other, *keep, exit_code=UNVERIFIED) == ["consistent", "split_view"]
        # Until somebody looked into it, that is how it stays.
        assert watch(first, *keep, exit_code=UNVERIFIED) == ["forked", "forked"]
    assert len(alarms(tmp_path)) == 1


def test_the_command_without_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(encode_genesis_json(make_genesis()))
    arguments = ("http://127.0.0.1:9", "--genesis", path, "--state", tmp_path / "watch.json")
    assert watch(*arguments, exit_code=UNREACHABLE) == ["silent"]


def test_the_command_watches_until_it_is_stopped_or_alarmed(tmp_path: Path) -> None:
    chain, second = forks([200, 99], [299])
    (tmp_path / "genesis.json").write_bytes(encode_genesis_json(chain.genesis))
    servers = [log_server(chain), log_server(chain)]

    async def play(*options: str) -> tuple[int, str]:
        """Exit code and first line; the second node forks, or the watcher is stopped."""
        async with asyncio.timeout(60), listening(*servers) as urls:
            command = [sys.executable, "-m", "tools.cli", "audit", "watch", *urls]
            command += ["--genesis", "genesis.json", "--lang", "zh", *options]
            process = await asyncio.create_subprocess_exec(
                *command, cwd=tmp_path, stdout=subprocess.PIPE, env=os.environ
            )
            assert process.stdout is not None
            told = [await process.stdout.readline() for _ in urls]
            if options:
                servers[1].show(second)
            else:
                process.terminate()
            rest = await process.stdout.read()
            return await process.wait(), b"".join([*told, rest]).decode()

    code, text = asyncio.run(play())
    assert code == OK
    assert text.count("与迄今所见的同一历史一致") == 2
    (tmp_path / "watch.json").unlink()
    code, text = asyncio.run(play("--exit-on-alarm"))
    assert code == UNVERIFIED
    assert "告警：" in text
    assert len(alarms(tmp_path)) == 1


def test_the_command_tells_what_does_not_verify(tmp_path: Path) -> None:
    """Whoever looks once by a timer reads the exit code."""
    chain = make_chain([200])
    minority = chain.checkpoint(cosigners=("north", "south"))
    with node_of(chain) as good, node_of(chain, checkpoint=minority) as bad:
        arguments = (good, bad, "--state", tmp_path / "watch.json")
        assert watch(*arguments, exit_code=UNVERIFIED) == ["consistent", "invalid"]
        command = ["audit", "watch", *map(str, arguments), "--once", "--lang", "en"]
        done = CliRunner().invoke(main, command)
    assert f"{bad} [watch-doubted]" in done.stderr


@pytest.mark.parametrize("text", ["net/mirror", "ftp://a/b", "http://", "http://a:b", "hook"])
def test_what_is_no_url_is_refused_before_it_is_needed(tmp_path: Path, text: str) -> None:
    keep = ("--state", tmp_path / "watch.json", "--genesis", tmp_path / "none")
    for arguments in ((text,), ("http://127.0.0.1:9", "--webhook", text)):
        refused = tally("audit", "watch", *arguments, *keep, exit_code=USAGE)
        assert refused["error"]["code"] == "url-invalid"


def test_two_watchers_do_not_share_a_state(tmp_path: Path) -> None:
    path, state = tmp_path / "genesis.json", tmp_path / "watch.json"
    path.write_bytes(encode_genesis_json(make_genesis()))
    arguments = ("audit", "watch", "http://127.0.0.1:9", "--genesis", path, "--state", state)
    with held(state):
        refused = tally(*arguments, exit_code=ERROR)
    assert refused["error"]["code"] == "state-in-use"
