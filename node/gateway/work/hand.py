"""A checked payload on its way to the agency: opened a second time, straight into the receiver.

The first pass has shown that the payload is whole and the one on the ledger; a receiver never sees
a byte of one that is not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from node.connectors.interface import Delivery, Receiver
from node.gateway.jobs import Failed
from node.gateway.work.check import Payload, is_damage
from node.gateway.work.prepare import payload_context
from node.gateway.work.tasks import Check, Hand, Setup
from node.sealing.errors import InvalidPayload
from node.sealing.keys import DecryptionKey


@contextmanager
def _whole() -> Iterator[None]:
    """What was checked may be there no more, or not whole: after a power cut, say."""
    try:
        yield
    except InvalidPayload as error:
        if not is_damage(error):
            raise
        raise _damaged(error.code) from None
    except FileNotFoundError:
        raise _damaged("the file is gone") from None


def _damaged(why: str) -> Failed:
    return Failed("payload-damaged", why)


def hand(
    setup: Setup,
    keys: Sequence[DecryptionKey],
    receiver: Receiver,
    task: Hand,
    tell: Callable[[int], None],
) -> None:
    """Give the records to the receiver, which has them durably when this returns."""
    context = payload_context(setup.network, task.about)
    with _whole():
        payload = Payload(keys, context, Path(task.path), task.commitment)

    def pieces() -> Iterator[bytes]:
        with _whole():
            for piece in payload.pieces():
                tell(payload.plain_bytes)
                yield piece

    delivery = make_delivery(task, task.plain_bytes, pieces(), lambda: tell(payload.plain_bytes))
    receiver.receive(replace(delivery, form=task.form, answer=task.answer))


def hand_checked(
    find_receiver: Callable[[], Receiver],
    task: Check,
    plaintext: Sequence[bytes],
    tell: Callable[[int], None],
) -> bool:
    """Give records that have just been found good, and are in memory, to the receiver.

    Whether it has them; why not, the next attempt tells, which is a step of its own.
    """
    size_bytes = sum(map(len, plaintext))
    delivery = make_delivery(task, size_bytes, iter(plaintext), lambda: tell(size_bytes))
    try:
        find_receiver().receive(delivery)
    except (Exception, SystemExit):  # a plug-in may raise anything
        return False
    return True


def make_delivery(
    task: Check | Hand, size_bytes: int, pieces: Iterator[bytes], alive: Callable[[], None]
) -> Delivery:
    """What the receiver is told."""
    about = task.about
    return Delivery(
        exchange=about.exchange,
        correction=about.correction,
        dataset=about.dataset,
        provider=about.provider,
        purpose=about.purpose,
        record_count=task.record_count,
        size_bytes=size_bytes,
        commitment=task.commitment,
        report=task.report,
        pieces=pieces,
        alive=alive,
    )
