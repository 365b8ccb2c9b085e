"""Watching: growth is silent, split views and rewrites raise one alarm each, also over restarts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from ledger.errors import LedgerError
from ledger.genesis import encode_genesis_json
from ledger.quorum.epochs import EpochChain
from ledger.tlog.merkle import prove_consistency
from tests.unit.ledger.builders import ChainBuilder, LeafReader, make_chain, make_genesis
from tests.unit.ledger.test_verify_epochs import OTHERS, spanning
from tests.unit.tools.mirror.servers import LogServer, grow, listening, log_server
from tools.audit import watch as watching
from tools.audit.alarms import Alarm, read_alarm, verify_alarm, write_alarm
from tools.audit.watch import Watcher, look_on, look_once
from tools.cli import main
from tools.exits import ERROR, OK, UNVERIFIED, InvalidInput, ToolError
from tools.mirror import live
from tools.mirror.live import Live
from tools.mirror.sources import Source, Sources
from tools.words import describe_error


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(watching, "PAUSE_S_MIN", 0.01)


class Lines:
    """What the watcher told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.faults: list[object] = []
        self._changed = asyncio.Event()

    def __call__(self, event: str, **values: object) -> None:
        self.events.append(event)
        self.faults += [values["fault"]] if event == "silent" else []
        self._changed.set()

    async def wait_for(self, *events: str, count: int = 1) -> None:
        """Wait until so many of these were told."""
        while sum(map(self.events.count, events)) < count:
            self._changed.clear()
            await self._changed.wait()


def looking(path: Path, *servers: LogServer, chain: ChainBuilder, times: int = 1) -> list[str]:
    """What one who starts, looks so many times and stops tells."""

    async def story() -> list[str]:
        lines, epochs = Lines(), EpochChain(chain.genesis)
        async with (
            asyncio.timeout(30),
            listening(*servers) as urls,
            Sources(urls, chain.genesis) as sources,
        ):
            # Ports differ from run to run; a node keeps its name.
            for number, source in enumerate(sources.all):
                source.url = f"http://node-{number}.example"
            watcher = Watcher(sources, epochs, path, lines)
            for _ in range(times):
                await look_once(watcher, sources, epochs)
        return lines.events

    return asyncio.run(story())


def forks(counts: list[int], other: list[int]) -> tuple[ChainBuilder, ChainBuilder]:
    first, second = make_chain(counts), make_chain(counts[:1])
    for at, count in enumerate(other):
        grow(second, count, first=5_000 + 1_000 * at)
    return first, second


def alarms(folder: Path) -> list[Alarm]:
    return [read_alarm(path) for path in sorted(folder.glob("alarm-*.json"))]


def test_one_history_raises_no_alarm(tmp_path: Path) -> None:
    path, chain = tmp_path / "watch.json", make_chain([200])
    servers = [log_server(chain), log_server(chain)]
    for step in range(6):
        assert set(looking(path, *servers, chain=chain)) == {"consistent"}
        grow(chain, 100, first=1_000 * step + 1_000)
        servers[step % 2].show(chain)
    assert not alarms(tmp_path)
    state = msgspec.json.decode(path.read_bytes())
    assert "\n706\n" in state["last"]["note"]


@pytest.mark.parametrize("other", [[60], [99], [299], [10, 20, 400]])
def test_a_rewrite_is_seen_over_a_restart(tmp_path: Path, other: list[int]) -> None:
    """Whether the second history is shorter, as long, or longer."""
    chain, rewritten = forks([200, 99], other)
    path = tmp_path / "watch.json"
    assert looking(path, log_server(chain), chain=chain) == ["consistent"]
    told = looking(path, log_server(rewritten), chain=chain, times=2)
    if rewritten.range.size < chain.range.size:
        # No tile proves the larger one any more: it stays in doubt, and no more than that.
        assert told == ["unproven", "unproven"]
        return
    assert told == ["rewrite"]
    (alarm,) = alarms(tmp_path)
    assert alarm.kind == "rewrite"
    verify_alarm(alarm, chain.genesis)
    # Of this node nothing more is expected.
    assert looking(path, log_server(chain), chain=chain) == []


@pytest.mark.parametrize("other", [[60], [99], [299]])
def test_two_nodes_with_two_views(tmp_path: Path, other: list[int]) -> None:
    chain, second = forks([200, 99], other)
    servers = (log_server(chain), log_server(second))
    told = looking(tmp_path / "watch.json", *servers, chain=chain, times=2)
    assert told == ["consistent", "split_view"]
    (alarm,) = alarms(tmp_path)
    assert alarm.kind == "split-view"
    sizes = [each.size for each in verify_alarm(alarm, chain.genesis)]
    assert sizes == sorted((chain.range.size, second.range.size))
    state = msgspec.json.decode((tmp_path / "watch.json").read_bytes())
    assert set(state["forked"]) == {"http://node-0.example", "http://node-1.example"}


def test_what_a_node_itself_had_shown_is_called_rewritten(tmp_path: Path) -> None:
    """Though another node has shown more since."""
    (chain, rewritten), (longer, _) = forks([200, 99], [99]), forks([200, 99], [99])
    grow(longer, 50, first=9_000)
    path = tmp_path / "watch.json"
    told = looking(path, log_server(chain), log_server(longer), chain=chain)
    assert told == ["consistent", "consistent"]
    assert looking(path, log_server(rewritten), log_server(longer), chain=chain)[0] == "rewrite"
    assert [alarm.kind for alarm in alarms(tmp_path)] == ["rewrite"]


def test_two_checkpoints_of_one_size_are_proof_without_any_tile(tmp_path: Path) -> None:
    chain, second = forks([200, 99], [99])
    servers = [log_server(chain), log_server(second)]
    for server in servers:
        server.files = {name: data for name, data in server.files.items() if "tile" not in name}
    told = looking(tmp_path / "watch.json", *servers, chain=chain)
    assert told == ["consistent", "split_view"]


def test_a_node_that_is_behind_is_compared_too(tmp_path: Path) -> None:
    chain, path = make_chain([200, 99]), tmp_path / "watch.json"
    behind = make_chain([200])
    assert looking(path, log_server(chain), log_server(behind), chain=chain) == ["consistent"] * 2
    assert "behind" in looking(path, log_server(behind), log_server(chain), chain=chain)
    assert not alarms(tmp_path)


def test_what_does_not_verify_is_told_and_not_kept(tmp_path: Path) -> None:
    chain, path = make_chain([200]), tmp_path / "watch.json"
    server = log_server(chain)
    server.lies["checkpoint"] = chain.checkpoint(cosigners=("north", "south"))
    dead = log_server(chain)
    dead.lies = {"checkpoint": b""}
    assert looking(path, server, dead, chain=chain) == ["invalid", "invalid"]
    assert not path.exists()


def test_a_checkpoint_whose_tiles_are_of_another_tree_is_in_doubt(tmp_path: Path) -> None:
    chain, path = make_chain([200]), tmp_path / "watch.json"
    server = log_server(chain)
    looking(path, server, chain=chain)
    kept = path.read_bytes()
    grow(chain, 200, first=900)
    server.show(chain)
    server.lies["tile/0/001.p/146"] = bytes(146 * 32)
    assert looking(path, server, chain=chain) == ["unproven"]
    assert path.read_bytes() == kept
    server.lies.clear()
    assert looking(path, server, chain=chain) == ["consistent"]


def test_a_log_that_spans_epochs(tmp_path: Path) -> None:
    chain = spanning()
    assert looking(tmp_path / "watch.json", log_server(chain), chain=chain) == ["consistent"]


def test_an_alarm_about_a_later_epoch_brings_the_proofs_of_those_before(tmp_path: Path) -> None:
    chain, second = spanning(), spanning()
    grow(chain, 3, first=5_000)
    grow(second, 3, first=6_000)
    servers = (log_server(chain), log_server(second))
    assert "split_view" in looking(tmp_path / "watch.json", *servers, chain=chain)
    (alarm,) = alarms(tmp_path)
    assert len(alarm.epochs) == 2
    verify_alarm(alarm, chain.genesis)


def test_a_checkpoint_of_an_epoch_that_is_new_to_the_watcher(tmp_path: Path) -> None:
    """It comes while the node is watched: the node is asked for the proof of the epoch."""
    path, chain = tmp_path / "watch.json", make_chain([200])
    server, lines = log_server(chain), Lines()

    async def story() -> None:
        async with (
            asyncio.timeout(30),
            listening(server) as urls,
            Sources(urls, chain.genesis) as sources,
        ):
            watcher = Watcher(sources, epochs := EpochChain(chain.genesis), path, lines)
            await look_once(watcher, sources, epochs)
            # None of those who cosigned until now does so any more.
            chain.seal(*OTHERS)
            grow(chain, 9, first=900)
            server.show(chain)
            await watcher.look(sources.all[0], server.files["checkpoint"])
            assert epochs.epoch == 1

    asyncio.run(story())
    assert lines.events == ["consistent"]
    assert "\n212\n" in msgspec.json.decode(path.read_bytes())["last"]["note"]


def test_state_that_cannot_be_used(tmp_path: Path) -> None:
    path, chain = tmp_path / "watch.json", make_chain([2])
    looking(path, log_server(chain), chain=chain)
    good = path.read_bytes()
    other = make_genesis(name="another")
    for data, genesis, code in (
        (b"{", chain.genesis, "watch-state"),
        (good.replace(b"ledger.example", b"ledger example"), chain.genesis, "watch-state"),
        (good, other, "watch-network"),
    ):
        path.write_bytes(data)
        with pytest.raises(InvalidInput) as caught:
            Watcher(Sources([], genesis), EpochChain(genesis), path, Lines())
        assert caught.value.code == code


# --- live -------------------------------------------------------------------------------------


def live_story(
    folder: Path,
    servers: list[LogServer],
    chain: ChainBuilder,
    story: Callable[[Lines], Awaitable[None]],
) -> None:
    async def play() -> None:
        lines, epochs = Lines(), EpochChain(chain.genesis)
        async with (
            asyncio.timeout(30),
            listening(*servers) as urls,
            Sources(urls, chain.genesis) as sources,
        ):
            watcher = Watcher(sources, epochs, folder / "watch.json", lines)
            await look_once(watcher, sources, epochs)
            live = Live(sources, on_lost=watcher.lose, on_back=watcher.regain)
            task = asyncio.create_task(look_on(watcher, live, until_alarm=False))
            await story(lines)
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(play())


def test_a_fork_is_seen_the_moment_it_is_shown(tmp_path: Path) -> None:
    chain, other = forks([200], [300])
    servers = [log_server(chain), log_server(chain)]

    async def story(lines: Lines) -> None:
        await lines.wait_for("consistent", count=2)
        grow(chain, 50, first=900)
        servers[0].show(chain)
        servers[1].show(other)
        # By what this node showed before, or by what the other one shows by now.
        await lines.wait_for("split_view", "rewrite")

    live_story(tmp_path, servers, chain, story)
    (alarm,) = alarms(tmp_path)
    verify_alarm(alarm, chain.genesis)


def test_a_node_that_comes_back_with_another_history(tmp_path: Path) -> None:
    chain, other = forks([200, 50], [300])
    servers = [log_server(chain)]

    async def story(lines: Lines) -> None:
        servers[0].break_streams()
        servers[0].show(other)
        await lines.wait_for("rewrite")

    live_story(tmp_path, servers, chain, story)


def test_a_node_that_breaks_off_is_told_as_what_happens(tmp_path: Path) -> None:
    """Like all else, with its time, and as JSON where that is asked for; once, and its return."""
    chain = make_chain([200])
    servers = [log_server(chain), log_server(chain)]

    async def story(lines: Lines) -> None:
        await lines.wait_for("consistent", count=2)
        for count, is_killed in enumerate((True, False, True), start=1):
            await servers[0].is_followed.wait()
            servers[0].break_streams(is_killed=is_killed)
            await lines.wait_for("back", count=count)
        assert lines.events == ["consistent"] * 2 + ["silent", "back"] * 3
        # In words, and not in those of the library that read the stream.
        assert set(lines.faults) == {describe_error("stream-closed")[0]}

    live_story(tmp_path, servers, chain, story)


def test_a_node_that_is_silent_from_the_start_is_told_once(tmp_path: Path) -> None:
    """First when it is asked, then when it is to be followed."""
    genesis, lines = make_genesis(), Lines()

    async def story() -> None:
        async with asyncio.timeout(30), Sources(["http://127.0.0.1:9"], genesis) as sources:
            watcher = Watcher(sources, epochs := EpochChain(genesis), tmp_path / "w", lines)
            assert await look_once(watcher, sources, epochs) == 0
            missed = asyncio.Event()

            def lose(source: Source, fault: ToolError) -> None:
                watcher.lose(source, fault)
                missed.set()

            live = Live(sources, on_lost=lose, on_back=watcher.regain)
            task = asyncio.create_task(look_on(watcher, live, until_alarm=False))
            await missed.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    assert lines.events == ["silent"]


def test_alarms_are_posted_until_they_are_taken(tmp_path: Path) -> None:
    """Also after a restart: what raised the alarm is not seen again, but it is still to be told."""
    chain, other = forks([200, 50], [300])
    looking(tmp_path / "watch.json", log_server(chain), log_server(other), chain=chain)
    posted: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        posted.append(await request.read())
        return web.Response(status=503 if len(posted) < 3 else 204)

    async def play() -> None:
        lines = Lines()
        async with asyncio.timeout(30), hook(take) as url:
            sources = Sources([], chain.genesis)
            path = tmp_path / "watch.json"
            watcher = Watcher(sources, EpochChain(chain.genesis), path, lines)
            delivery = asyncio.create_task(watcher.deliver(url))
            await watcher.wait_delivered(20)
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
        assert lines.events == ["webhook_fails", "webhook_fails", "webhook_takes"]

    asyncio.run(play())
    (alarm,) = alarms(tmp_path)
    assert [msgspec.json.decode(data, type=Alarm) for data in posted] == [alarm] * 3
    assert msgspec.json.decode((tmp_path / "watch.json").read_bytes())["pending"] == []


def test_a_webhook_that_leads_elsewhere_has_not_taken_an_alarm(tmp_path: Path) -> None:
    """Who names a webhook names who gets the alarm."""
    chain, other = forks([200, 50], [300])
    looking(tmp_path / "watch.json", log_server(chain), log_server(other), chain=chain)
    elsewhere: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        elsewhere.append(await request.read())
        return web.Response(status=204)

    async def play() -> None:
        lines = Lines()
        async with asyncio.timeout(30), hook(take) as other_url:

            async def lead_away(_: web.Request) -> web.Response:
                return web.Response(status=307, headers={"Location": other_url})

            async with hook(lead_away) as url:
                path = tmp_path / "watch.json"
                watcher = Watcher(
                    Sources([], chain.genesis), EpochChain(chain.genesis), path, lines
                )
                tasks = [
                    asyncio.create_task(watcher.deliver(url)),
                    asyncio.create_task(lines.wait_for("webhook_fails", count=2)),
                    asyncio.create_task(watcher.wait_delivered(20)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        assert lines.events[:2] == ["webhook_fails", "webhook_fails"]

    asyncio.run(play())
    assert not elsewhere
    assert len(msgspec.json.decode((tmp_path / "watch.json").read_bytes())["pending"]) == 1


@asynccontextmanager
async def hook(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A webhook."""
    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


# --- alarms judged offline --------------------------------------------------------------------


@pytest.fixture(scope="module")
def alarm_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alarm")
    chain, second = forks([200, 99], [299])
    looking(folder / "watch.json", log_server(chain), log_server(second), chain=chain)
    (path,) = folder.glob("alarm-*.json")
    (folder / "genesis.json").write_bytes(encode_genesis_json(chain.genesis))
    return path


def lies(alarm: Alarm) -> Iterator[Alarm]:
    change = msgspec.structs.replace
    yield change(alarm, network="00" * 32)
    yield change(alarm, second=alarm.first)
    yield change(alarm, root="00" * 32)
    yield change(alarm, proof=alarm.proof[1:])
    yield change(alarm, proof=(*alarm.proof[:-1], "00" * 32))
    yield change(alarm, epochs=("AAAA",))
    yield change(alarm, epochs=("?",))
    for name in ("first", "second"):
        seen = getattr(alarm, name)
        origin, size, rest = seen.note.split("\n", 2)
        yield change(alarm, **{name: change(seen, note=f"{origin}\n{int(size) + 1}\n{rest}")})


def test_an_alarm_that_proves_nothing(alarm_file: Path) -> None:
    alarm = read_alarm(alarm_file)
    genesis = make_genesis()
    verify_alarm(alarm, genesis)
    for lie in lies(alarm):
        with pytest.raises(LedgerError):
            verify_alarm(lie, genesis)


def test_the_first_alarm_about_two_checkpoints_stays(alarm_file: Path) -> None:
    data, alarm = alarm_file.read_bytes(), read_alarm(alarm_file)
    later = msgspec.structs.replace(alarm, time_ms=alarm.time_ms + 1)
    assert write_alarm(alarm_file.parent, later) == (alarm_file, False)
    assert alarm_file.read_bytes() == data


def test_two_checkpoints_of_one_history_are_no_alarm(alarm_file: Path, tmp_path: Path) -> None:
    """A true proof between honest checkpoints: both are of one history."""
    chain = make_chain([200])
    older = chain.checkpoint().decode()
    grow(chain, 99, first=900)
    alarm = read_alarm(alarm_file)
    first = msgspec.structs.replace(alarm.first, note=older)
    second = msgspec.structs.replace(alarm.second, note=chain.checkpoint().decode())
    proof = prove_consistency(LeafReader(chain.entries), 201, 301)
    forged = msgspec.structs.replace(
        alarm,
        first=first,
        second=second,
        root=make_chain([200]).range.root().hex(),
        proof=tuple(each.hex() for each in proof),
    )
    with pytest.raises(LedgerError, match="one history"):
        verify_alarm(forged, chain.genesis)


def tally(*arguments: object, exit_code: int = OK) -> Any:
    result: Result = CliRunner().invoke(main, [*map(str, arguments), "--lang", "en", "--json"])
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def test_the_command_judges_an_alarm(alarm_file: Path, tmp_path: Path) -> None:
    trust = ("--genesis", alarm_file.with_name("genesis.json"))
    answer = tally("audit", "alarm", alarm_file, *trust)
    assert (answer["valid"], answer["kind"]) == (True, "split-view")
    forged = tmp_path / "alarm.json"
    for lie, code in (
        (msgspec.structs.replace(read_alarm(alarm_file), proof=()), "alarm-invalid"),
        ({"version": 2}, "alarm-malformed"),
    ):
        forged.write_bytes(msgspec.json.encode(lie))
        expected = UNVERIFIED if code == "alarm-invalid" else ERROR
        assert tally("audit", "alarm", forged, *trust, exit_code=expected)["error"]["code"] == code
    missing = tally("audit", "alarm", tmp_path / "none", *trust, exit_code=ERROR)
    assert missing["error"]["code"] == "file-unreadable"
