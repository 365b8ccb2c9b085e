"""`python -m node.gateway.work.child`: takes tasks from its input, one at a time.

Only for the gateway. What a plug-in prints goes to the standard error. The input is read by a
thread of its own: when it ends, the gateway is gone, and so is the child, whatever it is doing.
"""

import os
import queue
import resource
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from node.connectors.errors import ConnectorFailed, InvalidOptions, ReceiverFailed
from node.connectors.interface import Connector, Receiver
from node.connectors.registry import load_connector, load_receiver
from node.crs.errors import CrsError
from node.gateway.jobs import Failed
from node.gateway.work import check, hand, prepare, question
from node.gateway.work.tasks import (
    FRAME_BYTES_MAX,
    SETUPS,
    TASKS,
    Answer,
    Check,
    Done,
    Erase,
    Fault,
    Hand,
    Prepare,
    Probe,
    Progress,
    ReadAnswer,
    Reveal,
    SealQuestion,
    Setup,
    Task,
    frame,
)
from node.records.errors import RecordsError
from node.sealing.errors import InvalidPayload
from node.sealing.keys import DecryptionKey

PROGRESS_S = 1.0
_NAME_MAX = 100


class Bench:
    """The tools of one child: keys, connectors and receiver, each made when it is first needed."""

    def __init__(self, setup: Setup, tell: Callable[[int], None]) -> None:
        self.setup = setup
        self.tell = tell
        self.keys = tuple(DecryptionKey(seed) for seed in setup.seeds)
        self._connectors: dict[str, Connector] = {}
        self._receiver: Receiver | None = None

    def connector(self, dataset: str) -> Connector:
        """The connector of a dataset. Raises `Failed`, `InvalidOptions`."""
        if dataset not in self._connectors:
            plug = self.setup.connectors.get(dataset)
            if plug is None:
                raise Failed("connector-missing", dataset, retry=False)
            base = Path(self.setup.base)
            self._connectors[dataset] = load_connector(plug.name, plug.options, base)
        return self._connectors[dataset]

    def receiver(self) -> Receiver:
        """The receiver. Raises `InvalidOptions`."""
        if self._receiver is None:
            plug = self.setup.receiver
            self._receiver = load_receiver(plug.name, plug.options, Path(self.setup.base))
        return self._receiver


def perform(bench: Bench, task: Task) -> Answer:
    """One task; every failure is an answer."""
    try:
        return _perform(bench, task)
    except Failed as error:
        return Fault(code=error.code, detail=error.detail, retry=error.retry)
    except (ConnectorFailed, ReceiverFailed) as error:
        return Fault(code=error.code, detail=error.detail, retry=error.retry)
    except InvalidOptions as error:
        return Fault(code=error.code, detail=error.detail, retry=False)
    except (RecordsError, CrsError) as error:
        return Fault(code=error.code, detail=error.detail, retry=False)
    except InvalidPayload as error:
        return Fault(code=error.code, detail=str(error), retry=False)
    except MemoryError:
        return Fault(code="work-memory", detail=type(task).__name__, retry=False)
    except OSError as error:
        # The name of the error only: a path may hold what must not be told.
        return Fault(code="work-disk", detail=error.strerror or type(error).__name__, retry=True)
    except (Exception, SystemExit) as error:
        # A plug-in may raise anything, and its text may quote records: the type only.
        return Fault(code="work-crashed", detail=type(error).__name__[:_NAME_MAX], retry=True)


def _perform(bench: Bench, task: Task) -> Answer:
    if isinstance(task, SealQuestion):
        return question.seal(bench.setup, bench.keys[0], task)
    if isinstance(task, Reveal):
        return question.reveal(bench.setup, bench.keys, task)
    if isinstance(task, Prepare):
        connector = bench.connector(task.about.dataset)
        make = _message().prepare if task.rules.form else prepare.prepare
        return make(bench.setup, bench.keys, connector, task, bench.tell)
    if isinstance(task, Check):
        judge = _message().check if task.rules.form else check.check
        return judge(bench.setup, bench.keys, task, bench.tell)
    _do(bench, task)
    return Done()


def _do(bench: Bench, task: Task) -> None:
    """A task that has no result."""
    if isinstance(task, Hand):
        hand.hand(bench.setup, bench.keys, bench.receiver(), task, bench.tell)
    elif isinstance(task, ReadAnswer):
        _message().read_answer(task)
    elif isinstance(task, Probe):
        _probe(bench, task)
    else:
        assert isinstance(task, Erase)
        bench.receiver().erase(task.exchange)


def _probe(bench: Bench, task: Probe) -> None:
    if task.is_message:
        _message().probe(bench.setup, task.dataset)
    elif task.dataset:
        bench.connector(task.dataset).check()
    else:
        bench.receiver().check()


def _message() -> ModuleType:
    """The module for messages, whose libraries are an extra. Raises `Failed`."""
    try:
        return import_module("node.gateway.work.message")
    except ModuleNotFoundError as error:
        if error.name != "lxml":
            raise
        raise Failed("crs-extra-missing", error.name, retry=False) from None


def main() -> int:
    """Serve until the input ends."""
    incoming, outgoing = sys.stdin.buffer, _take_stdout()
    setup = SETUPS.decode(_read_frame(incoming))
    resource.setrlimit(resource.RLIMIT_AS, (setup.memory_bytes_max, setup.memory_bytes_max))
    # A crash must not leave keys and records in a file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_tasks, args=(incoming, tasks), daemon=True).start()
    bench = Bench(setup, _teller(outgoing))
    while True:
        answer = perform(bench, TASKS.decode(tasks.get()))
        outgoing.write(frame(answer))
        outgoing.flush()


def _take_stdout() -> BinaryIO:
    """The standard output for frames alone; whatever else is printed goes to the error output."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")


def _teller(outgoing: BinaryIO) -> Callable[[int], None]:
    """A function that tells of progress, at most once in `PROGRESS_S`."""
    told = time.monotonic()

    def tell(done: int) -> None:
        nonlocal told
        if (now := time.monotonic()) - told >= PROGRESS_S:
            told = now
            outgoing.write(frame(Progress(done=done)))
            outgoing.flush()

    return tell


def _read_tasks(incoming: BinaryIO, tasks: "queue.SimpleQueue[bytes]") -> None:
    with suppress(EOFError):
        while True:
            tasks.put(_read_frame(incoming))
    os._exit(0)


def _read_frame(incoming: BinaryIO) -> bytes:
    head = incoming.read(4)
    size = int.from_bytes(head, "big")
    data = incoming.read(size) if size <= FRAME_BYTES_MAX else b""
    if len(head) < 4 or len(data) < size:
        raise EOFError
    return data


if __name__ == "__main__":
    sys.exit(main())
