"""A checked payload on its way to the agency: opened a second time, straight into the receiver.

The first pass has shown that the payload is whole and the one on the ledger; a receiver never sees
a byte of one that is not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.connectors.interface import Delivery, Receiver
from node.gateway.jobs import Failed
from node.gateway.work.check import Payload, is_damage
from node.gateway.work.prepare import payload_context
from node.gateway.work.tasks import Hand, Setup
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
    about, path = task.about, Path(task.path)
    with _whole():
        payload = Payload(keys, payload_context(setup.network, about), path, task.commitment)

    def pieces() -> Iterator[bytes]:
        with _whole():
            for piece in payload.pieces():
                tell(payload.plain_bytes)
                yield piece

    receiver.receive(
        Delivery(
            exchange=about.exchange,
            correction=about.correction,
            dataset=about.dataset,
            provider=about.provider,
            purpose=about.purpose,
            record_count=task.record_count,
            size_bytes=task.plain_bytes,
            commitment=task.commitment,
            report=task.report,
            pieces=pieces(),
            form=task.form,
            answer=task.answer,
            alive=lambda: tell(payload.plain_bytes),
        )
    )
