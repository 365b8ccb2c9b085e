"""Parts replayed by a real scheduler and its workers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.tools.audit.copies import make_part
from tools.audit.cluster import replay_on_cluster
from tools.audit.segments import plan, replay_one
from tools.exits import InvalidInput, Unreachable

distributed = pytest.importorskip("distributed")


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A program of the cluster; its log is what it prints."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(process: "subprocess.Popen[str]", words: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without saying {words!r}")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with two workers, each a process."""
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            running("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                    "--no-dashboard")
        )  # fmt: skip
        found = wait_for(scheduler, "Scheduler at:").split()[-1]
        for _ in range(2):
            worker = stack.enter_context(
                running("distributed.cli.dask_worker", found, "--nthreads", "1", "--no-nanny",
                        "--no-dashboard", "--host", "127.0.0.1")
            )  # fmt: skip
            wait_for(worker, "Registered to:")
        yield found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_workers_give_what_this_process_gives(log: Governed, stated: Path, address: str) -> None:
    parts = plan(stated, log.chain.genesis, from_height=0, to_height=7, every=0)
    seen: list[int] = []
    found = replay_on_cluster(parts, address, seen.append)
    assert found == [replay_one(part) for part in parts]
    assert seen[-1] == found[-1].last.entries
    with distributed.Client(address) as client:
        assert len(client.scheduler_info()["workers"]) == 2
    with pytest.raises(InvalidInput) as caught:
        replay_on_cluster([make_part(stated, log.chain.genesis, 3, 99)], address, seen.append)
    assert caught.value.code == "height-unknown"


def test_a_scheduler_that_is_not_there_is_named(
    log: Governed, stated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.audit.cluster.CONNECT_S_MAX", 1)
    part = make_part(stated, log.chain.genesis)
    for address in ("tcp://127.0.0.1:1", "nonsense://127.0.0.1:1"):
        with pytest.raises(Unreachable) as caught:
            replay_on_cluster([part], address, lambda _: None)
        assert caught.value.code == "cluster-unreachable"


@pytest.mark.parametrize("address", ["nowhere", "tcp://nowhere", "tcp://:x", ""])
def test_what_is_no_address_is_not_asked(log: Governed, stated: Path, address: str) -> None:
    with pytest.raises(Unreachable) as caught:
        replay_on_cluster([make_part(stated, log.chain.genesis)], address, lambda _: None)
    assert (caught.value.code, caught.value.detail) == ("cluster-unreachable", address)


def test_without_the_extra_it_is_said_what_to_install(
    log: Governed, stated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InvalidInput) as caught:
        replay_on_cluster([make_part(stated, log.chain.genesis)], "tcp://x", lambda _: None)
    assert (caught.value.code, caught.value.detail) == ("extra-missing", "tallystick[cluster]")
