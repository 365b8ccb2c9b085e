"""Mirrors from several sources: verified as they come, whoever lies, cuts, sleeps or forks."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import InvalidProof
from ledger.quorum.founding import encode_signatures
from ledger.tlog.tiles import tile_paths
from ledger.verify import open_copy, read_blocks, verify_log
from tests import builders
from tests.unit.ledger.builders import (
    MEMBERS,
    ChainBuilder,
    make_chain,
    make_checkpoint,
    make_copy,
    make_event,
)
from tests.unit.ledger.quorum.test_founding import GENESIS, OUTSIDER, all_signed
from tests.unit.ledger.test_verify_epochs import FIVE, spanning
from tests.unit.node.api.harness import Served, run
from tests.unit.tools.mirror.servers import LogServer, grow, listening, log_server
from tools.audit.alarms import read_alarm, verify_alarm
from tools.exits import InvalidAnswer, InvalidInput, InvalidUsage, NotFound, ToolError, Unreachable
from tools.mirror import Mirror, folder_reader, mirror_log, sources
from tools.mirror.folder import no_progress
from tools.mirror.update import mirror_from, open_mirroring

BUNDLE = "tile/entries/001"
# So long a source is waited for before the next one is asked as well.
IMPATIENT_S, PATIENT_S = 0.2, 60


@pytest.fixture(scope="module")
def long_chain() -> ChainBuilder:
    """700 entries: two full tiles and a partial one."""
    return make_chain([99] * 7)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; but who answers is waited for, however busy this machine is."""
    monkeypatch.setattr(sources, "PAUSE_S", 0.01)
    monkeypatch.setattr(sources, "HEDGE_S", PATIENT_S)


def copying(folder: Path, *servers: LogServer, chain: ChainBuilder) -> Mirror:
    """The mirror made from these servers."""

    async def main() -> Mirror:
        async with asyncio.timeout(30), listening(*servers) as urls:
            return await mirror_from(urls, folder, genesis=chain.genesis, on_progress=no_progress)

    return asyncio.run(main())


def assert_is_copy(folder: Path, chain: ChainBuilder) -> None:
    """The folder has the very bytes of the log's files, and no other tile."""
    files = chain.copy()
    for name, data in files.items():
        assert (folder / name).read_bytes() == data, name
    tiles = {p.relative_to(folder).as_posix() for p in (folder / "tile").rglob("*") if p.is_file()}
    assert tiles == {tile.format() for tile in tile_paths(chain.range.size)}
    verify_log(folder_reader(folder), genesis=chain.genesis)


@pytest.mark.parametrize("is_static", [False, True])
@pytest.mark.parametrize("count", [1, 254, 255, 256, 520])
def test_a_mirror_has_the_bytes_of_the_log(tmp_path: Path, count: int, is_static: bool) -> None:
    chain = make_chain([count])
    made = copying(tmp_path, log_server(chain, is_static=is_static), chain=chain)
    assert made.checkpoint.size == count + 1
    assert made.kept == 0
    assert_is_copy(tmp_path, chain)


def test_a_mirror_is_itself_a_source(tmp_path: Path, long_chain: ChainBuilder) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    copying(first, log_server(long_chain), chain=long_chain)
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, cwd=first, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split("(")[1].split(")")[0]
            asyncio.run(mirror_log(url, second, genesis=None, on_progress=no_progress))
        finally:
            server.kill()
    assert_is_copy(second, long_chain)
    assert (second / "policy").read_bytes() == (first / "policy").read_bytes()


def test_what_is_there_is_not_fetched_again(tmp_path: Path, long_chain: ChainBuilder) -> None:
    server = log_server(long_chain)
    copying(tmp_path, server, chain=long_chain)
    server.asked.clear()
    again = copying(tmp_path, server, chain=long_chain)
    assert again.downloaded == 0
    assert not [path for path in server.asked if "tile" in path]


def test_a_damaged_file_is_fetched_again(tmp_path: Path, long_chain: ChainBuilder) -> None:
    server = log_server(long_chain)
    copying(tmp_path, server, chain=long_chain)
    for name in (BUNDLE, "tile/0/000", "tile/1/000.p/2"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    again = copying(tmp_path, server, chain=long_chain)
    assert again.downloaded == len([BUNDLE]) + len(("tile/0/002.p/188", "tile/1/000.p/2"))
    assert_is_copy(tmp_path, long_chain)


def tampered(chain: ChainBuilder, name: str) -> LogServer:
    """A server with one byte of one file changed."""
    server = log_server(chain)
    data = bytearray(server.files[name])
    data[len(data) // 2] ^= 1
    server.lies[name] = bytes(data)
    return server


LIES = (BUNDLE, "tile/entries/002.p/188", "tile/0/002.p/188", "tile/1/000.p/2", "checkpoint")


@pytest.mark.parametrize("name", LIES)
def test_where_one_lies_another_is_asked(
    tmp_path: Path, long_chain: ChainBuilder, name: str
) -> None:
    liar = tampered(long_chain, name)
    copying(tmp_path, liar, log_server(long_chain), tampered(long_chain, name), chain=long_chain)
    assert_is_copy(tmp_path, long_chain)


def test_a_liar_is_named_and_never_asked_again(
    long_chain: ChainBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    liar, honest = tampered(long_chain, BUNDLE), log_server(long_chain)

    def take(files: list[bytes]) -> bytes:
        if files[0] != honest.files[BUNDLE]:
            raise InvalidProof("not what it should be")
        return files[0]

    async def story() -> None:
        async with (
            asyncio.timeout(30),
            listening(liar, honest) as urls,
            sources.Sources(urls, long_chain.genesis) as all_,
        ):
            for _ in range(2):
                # Both are new, so the first one named comes first; later the liar is not there.
                assert await all_.fetch([BUNDLE], take) == honest.files[BUNDLE]
            assert all_.dropped == (liar.url,)
            assert [source.url for source in all_.usable] == [honest.url]

    asyncio.run(story())
    assert (len(liar.asked), len(honest.asked)) == (1, 2)
    assert liar.url in capsys.readouterr().err


@pytest.mark.parametrize("name", LIES)
def test_nothing_is_believed_when_all_lie(
    tmp_path: Path, long_chain: ChainBuilder, name: str
) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        copying(tmp_path, tampered(long_chain, name), tampered(long_chain, name), chain=long_chain)
    expected = "checkpoint-invalid" if name == "checkpoint" else "tiles-invalid"
    assert caught.value.code == expected
    assert "http://127.0.0.1" in caught.value.detail
    assert not (tmp_path / "checkpoint").exists()
    if name == BUNDLE:
        assert not (tmp_path / BUNDLE).exists()


def test_a_whole_other_log_is_not_taken(tmp_path: Path, long_chain: ChainBuilder) -> None:
    """Entries that fit each other, under hash tiles of their own, below the true checkpoint."""
    other = make_copy([b"other", *long_chain.entries[1:]])
    server = log_server(long_chain)
    server.lies = {name: data for name, data in other.items() if name.startswith("tile/")}
    with pytest.raises(InvalidAnswer, match="edge"):
        copying(tmp_path, server, chain=long_chain)


def test_connections_that_are_cut_are_tried_again(tmp_path: Path, long_chain: ChainBuilder) -> None:
    server = log_server(long_chain)
    server.cut = {BUNDLE: 2, "tile/0/002.p/188": 1}
    copying(tmp_path, server, chain=long_chain)
    assert server.cut == {BUNDLE: 0, "tile/0/002.p/188": 0}
    assert_is_copy(tmp_path, long_chain)


def test_a_download_that_breaks_off_is_resumed(tmp_path: Path, long_chain: ChainBuilder) -> None:
    server = log_server(long_chain)
    server.cut = {"tile/entries/002.p/188": 100}
    with pytest.raises(Unreachable):
        copying(tmp_path, server, chain=long_chain)
    assert not (tmp_path / "checkpoint").exists()
    server.cut, server.asked = {}, []
    copying(tmp_path, server, chain=long_chain)
    assert "/log/tile/entries/000" not in server.asked
    assert_is_copy(tmp_path, long_chain)


def test_a_dead_and_a_slow_node_do_not_hold_up(
    tmp_path: Path, long_chain: ChainBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HEDGE_S", IMPATIENT_S)
    slow = log_server(long_chain)
    slow.stalled = "tile/"

    async def main() -> None:
        honest = log_server(long_chain)
        async with asyncio.timeout(20), listening(slow, honest) as urls:
            await mirror_from(
                ["http://127.0.0.1:9", *urls],
                tmp_path,
                genesis=long_chain.genesis,
                on_progress=no_progress,
            )

    asyncio.run(main())
    assert_is_copy(tmp_path, long_chain)


def fetching(
    chain: ChainBuilder, *servers: LogServer, dead: bool = False
) -> Callable[..., list[list[int]]]:
    """How often each server was asked after each fetch of one file, by how long one is waited for.

    What is waited for is set; `quick` undoes it.
    """

    async def story(*hedges_s: float) -> list[list[int]]:
        counts = []
        async with (
            asyncio.timeout(20),
            listening(*servers) as urls,
            sources.Sources(
                [*urls, *(["http://127.0.0.1:9"] if dead else [])], chain.genesis
            ) as all_,
        ):
            for hedge_s in hedges_s:
                sources.HEDGE_S = hedge_s
                await all_.fetch([BUNDLE], check_bundle(chain))
                counts.append([len(server.asked) for server in servers])
        return counts

    return lambda *hedges_s: asyncio.run(story(*hedges_s))


def check_bundle(chain: ChainBuilder) -> Callable[[list[bytes]], None]:
    expected = chain.copy()[BUNDLE]

    def take(files: list[bytes]) -> None:
        if files != [expected]:
            raise InvalidProof("not what it should be")

    return take


def test_a_source_that_lets_wait_is_not_waited_for(long_chain: ChainBuilder) -> None:
    """The next is asked as well, and from then on first."""
    slow, quick = log_server(long_chain), log_server(long_chain)
    slow.stalled = "tile/"
    assert fetching(long_chain, slow, quick)(IMPATIENT_S, PATIENT_S) == [[1, 1], [1, 2]]


def test_a_source_that_answers_in_time_is_asked_alone(long_chain: ChainBuilder) -> None:
    servers = log_server(long_chain), log_server(long_chain)
    (counts,) = fetching(long_chain, *servers)(PATIENT_S)
    assert counts == [1, 0]


def lacking(chain: ChainBuilder) -> LogServer:
    server = log_server(chain)
    del server.files[BUNDLE]
    return server


def test_what_is_raised_when_no_source_has_a_file(long_chain: ChainBuilder) -> None:
    """Whoever did not answer may have it; and one that lacks it is not called a liar."""
    liar = tampered(long_chain, BUNDLE)
    with pytest.raises(InvalidAnswer) as caught:
        fetching(long_chain, liar, tampered(long_chain, BUNDLE))(PATIENT_S)
    assert caught.value.code == "tiles-invalid"
    for servers in ((liar, lacking(long_chain)), (lacking(long_chain), liar)):
        with pytest.raises(NotFound):
            fetching(long_chain, *servers)(PATIENT_S)
    for server in (liar, lacking(long_chain)):
        with pytest.raises(Unreachable):
            fetching(long_chain, server, dead=True)(PATIENT_S)


def test_no_node_at_all(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        asyncio.run(
            mirror_log("http://127.0.0.1:9", tmp_path, genesis=None, on_progress=no_progress)
        )


def test_a_page_in_place_of_a_log_is_named_as_that(tmp_path: Path) -> None:
    """A portal that wants a login answers everything, also what a log has only after an epoch."""
    chain, page = make_chain([9]), b"<!DOCTYPE html><title>Log in</title>"
    portal = LogServer(dict.fromkeys((*chain.copy(), "epochs/0"), page), is_static=True)
    with pytest.raises(InvalidAnswer) as caught:
        copying(tmp_path / "copy", portal, chain=chain)
    assert caught.value.code == "checkpoint-invalid"
    copying(tmp_path / "copy", portal, log_server(chain), chain=chain)
    assert_is_copy(tmp_path / "copy", chain)


def test_a_source_that_lacks_a_file(tmp_path: Path, long_chain: ChainBuilder) -> None:
    server = log_server(long_chain)
    del server.files[BUNDLE]
    with pytest.raises(NotFound):
        copying(tmp_path, server, chain=long_chain)


def test_epochs_come_from_whichever_source_has_them(tmp_path: Path) -> None:
    chain = spanning()
    bare = log_server(chain)
    for name in ("epochs/0", "epochs/1"):
        del bare.files[name]
    copying(tmp_path, log_server(chain), bare, chain=chain)
    assert_is_copy(tmp_path, chain)


# --- two histories ----------------------------------------------------------------------------


def forked(counts: list[int], other: list[int]) -> tuple[ChainBuilder, ChainBuilder]:
    """Two logs with one first block, under checkpoints that the same validators cosigned."""
    first, second = make_chain(counts), make_chain(counts[:1])
    for at, count in enumerate(other):
        grow(second, count, first=5_000 + 1_000 * at)
    return first, second


@pytest.mark.parametrize("other", [[299], [99, 199], [99, 400], [20]])
def test_a_rewritten_log_is_proven_and_nothing_is_overwritten(
    tmp_path: Path, other: list[int]
) -> None:
    chain, rewritten = forked([200, 299], other)
    copying(tmp_path, log_server(chain), chain=chain)
    with pytest.raises(InvalidAnswer) as caught:
        copying(tmp_path, log_server(rewritten), chain=chain)
    assert caught.value.code == "log-forked"
    assert_is_copy(tmp_path, chain)
    (path,) = tmp_path.glob("alarm-*.json")
    assert str(path) in caught.value.detail
    alarm = read_alarm(path)
    assert alarm.kind == "rewrite"
    sizes = sorted((chain.range.size, rewritten.range.size))
    assert [each.size for each in verify_alarm(alarm, chain.genesis)] == sizes


def test_a_checkpoint_that_nobody_signed_is_no_history(tmp_path: Path) -> None:
    """What lies in the folder raises an alarm about a node only if a quorum signed it."""
    chain, other = forked([200, 299], [299])
    copying(tmp_path, log_server(chain), chain=chain)
    few = make_checkpoint(other.range.size, other.range.root(), cosigners=MEMBERS[:2])
    (tmp_path / "checkpoint").write_bytes(few)
    copying(tmp_path, log_server(chain), chain=chain)
    assert_is_copy(tmp_path, chain)
    assert not list(tmp_path.glob("alarm-*"))


def test_two_nodes_with_two_histories(tmp_path: Path) -> None:
    chain, other = forked([200, 299], [350])
    with pytest.raises(InvalidAnswer) as caught:
        copying(tmp_path, log_server(chain), log_server(other), chain=chain)
    assert caught.value.code == "log-forked"
    assert not (tmp_path / "checkpoint").exists()
    (path,) = tmp_path.glob("alarm-*.json")
    assert read_alarm(path).kind == "split-view"


def test_a_node_that_is_behind_is_no_fork(tmp_path: Path) -> None:
    chain, behind = make_chain([200, 299]), make_chain([200])
    copying(tmp_path, log_server(behind), log_server(chain), chain=chain)
    assert_is_copy(tmp_path, chain)
    # Alone it does not take the mirror back.
    assert copying(tmp_path, log_server(behind), chain=chain).checkpoint.size == 501
    assert_is_copy(tmp_path, chain)


@pytest.mark.parametrize("is_forged", [False, True])
def test_signatures_of_founders_are_kept_if_they_verify(tmp_path: Path, is_forged: bool) -> None:
    chain = ChainBuilder(GENESIS)
    grow(chain, 3, first=0)
    signatures = all_signed(key=OUTSIDER) if is_forged else all_signed()
    server = log_server(chain)
    server.files["genesis.signatures.json"] = encode_signatures(signatures)
    kept = tmp_path / "genesis.signatures.json"
    if is_forged:
        with pytest.raises(InvalidAnswer) as caught:
            copying(tmp_path, server, chain=chain)
        assert caught.value.code == "signatures-invalid"
        assert not kept.exists()
    else:
        copying(tmp_path, server, chain=chain)
        assert kept.read_bytes() == encode_signatures(signatures)


# --- following --------------------------------------------------------------------------------


def test_a_followed_mirror_grows_with_its_node(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        for label in map(str, range(140)):
            event = builders_request(label)
            await node.submit(event)
        node.service.sign_checkpoint()
        host, port = node.address
        urls = [f"http://{host}:{port}"]
        async with open_mirroring(urls, tmp_path, node.service.genesis) as (mirroring, live):
            made = await mirroring.update(no_progress)
            assert made.checkpoint.size == 280
            copies = mirroring.follow(made, live)
            upcoming = asyncio.ensure_future(anext(copies))
            for round_ in range(3):
                await node.submit(builders_request(f"more {round_}"))
                node.service.sign_checkpoint()
                made = await upcoming
                assert made.checkpoint.size == 282 + 2 * round_
                verify_log(folder_reader(tmp_path), genesis=node.service.genesis)
                upcoming = asyncio.ensure_future(anext(copies))
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
            await copies.aclose()

    run(tmp_path / "node", story)
    names = {path.name for path in (tmp_path / "tile" / "entries").rglob("*") if path.is_file()}
    assert names == {"000", "30"}


def builders_request(label: str) -> bytes:
    return builders.request(label=label, expires_height=1_000).data


def following(folder: Path, story: Callable[..., Awaitable[Any]], server: LogServer) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(30),
            listening(server) as urls,
            open_mirroring(urls, folder, None) as (mirroring, live),
        ):
            made = await mirroring.update(no_progress)
            copies = mirroring.follow(made, live)
            try:
                await story(copies)
            finally:
                await copies.aclose()

    asyncio.run(main())


def test_what_was_missed_while_the_stream_was_down_comes_first(tmp_path: Path) -> None:
    chain = make_chain([200])
    server = log_server(chain)

    async def story(copies: Any) -> None:
        upcoming = asyncio.ensure_future(anext(copies))
        grow(chain, 100, first=900)
        server.show(chain)
        assert (await upcoming).checkpoint.size == 302
        upcoming = asyncio.ensure_future(anext(copies))
        server.break_streams()
        streams, server._streams = server._streams, []
        grow(chain, 1, first=1_900)
        server.show(chain)  # nobody hears it
        server._streams = streams
        assert (await upcoming).checkpoint.size == 304

    following(tmp_path, story, server)
    assert_is_copy(tmp_path, chain)


def test_a_copy_that_moves_on_while_it_is_read_is_not_judged(tmp_path: Path) -> None:
    """The partial tiles of the checkpoint that the reader began with go when a longer one comes."""
    chain, folder = make_chain([9] * 3), tmp_path / "copy"
    copying(folder, log_server(chain), chain=chain)
    begun = open_copy(folder_reader(folder), genesis=chain.genesis)
    grow(chain, 9, first=27)
    copying(folder, log_server(chain), chain=chain)
    with pytest.raises(InvalidInput) as caught:
        list(read_blocks(begun))
    assert (caught.value.code, caught.value.detail) == ("copy-changed", str(folder))
    again = open_copy(folder_reader(folder), genesis=chain.genesis)
    assert [block.header.height for block in read_blocks(again)][-1] == len(chain.blocks)


def test_a_followed_mirror_goes_on_in_the_next_epoch(tmp_path: Path) -> None:
    chain = make_chain([2, 0])
    server = log_server(chain)

    async def story(copies: Any) -> None:
        upcoming = asyncio.ensure_future(anext(copies))
        chain.seal(*FIVE, events=[make_event(50)])
        grow(chain, 2, first=900)
        server.show(chain)
        assert (await upcoming).checkpoint.size == chain.range.size

    following(tmp_path, story, server)
    assert_is_copy(tmp_path, chain)
    assert (tmp_path / "epochs" / "0").exists()


class Hastening(LogServer):
    """Tells of a new block as soon as it has shown what was there before."""

    def __init__(self, chain: ChainBuilder) -> None:
        super().__init__(chain.copy())
        self.show(chain)
        self._chain: ChainBuilder | None = chain

    def _receipt(self, index: int) -> bytes:
        answer, chain = super()._receipt(index), self._chain
        if chain is not None:
            self._chain = None
            grow(chain, 5, first=900)
            self.show(chain)
        return answer


def test_a_followed_mirror_does_not_repeat_what_it_told(tmp_path: Path) -> None:
    """The first that a node shows is what the mirror has already."""
    chain = make_chain([200])

    async def story(copies: Any) -> None:
        assert (await anext(copies)).checkpoint.size == 207

    following(tmp_path, story, Hastening(chain))
    assert_is_copy(tmp_path, chain)


def test_a_rewrite_ends_the_following(tmp_path: Path) -> None:
    chain, rewritten = forked([200, 50], [99])
    server = log_server(chain)

    async def story(copies: Any) -> None:
        upcoming = asyncio.ensure_future(anext(copies))
        server.show(rewritten)
        with pytest.raises(ToolError) as caught:
            await upcoming
        assert caught.value.code == "log-forked"

    following(tmp_path, story, server)
    assert_is_copy(tmp_path, chain)


def test_a_web_server_cannot_be_followed(tmp_path: Path, long_chain: ChainBuilder) -> None:
    async def story(copies: Any) -> None:
        with pytest.raises(InvalidUsage) as caught:
            await anext(copies)
        assert caught.value.code == "no-stream"

    following(tmp_path, story, log_server(long_chain, is_static=True))
