"""Who is asked about: only the provider learns it, and only what the ledger has a commitment to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ledger.exchange.subjects import commit_subject
from node.gateway.jobs import Failed
from node.gateway.work import question
from node.gateway.work.question import open_question, question_context, reveal, seal
from node.gateway.work.tasks import Reveal, SealQuestion
from node.sealing.errors import InvalidPayload
from node.sealing.keys import DecryptionKey
from tests.builders import ASKER, NETWORK, OWNER, hash32
from tests.unit.node.gateway.work.bench import ABOUT, OWN, PARTNER, make_setup

SUBJECTS = (("91110000600037341L", hash32("one")), ("某人", hash32("two")))
COMMITMENTS = tuple(commit_subject(*each) for each in SUBJECTS)
SETUP = make_setup(Path(), member=ASKER)
ASKED = seal(SETUP, OWN, SealQuestion(about=ABOUT, subjects=SUBJECTS, recipient=PARTNER.public))
FOR_OWNER = question_context(NETWORK, ABOUT, OWNER)


def opened(
    data: bytes, subjects: Sequence[bytes] = COMMITMENTS, keys: Sequence[DecryptionKey] = (PARTNER,)
) -> tuple[tuple[str, bytes], ...]:
    return open_question(keys, FOR_OWNER, data, subjects)


def test_the_provider_opens_it_and_the_requester_its_own_copy() -> None:
    assert opened(ASKED.partner) == SUBJECTS
    task = Reveal(about=ABOUT, question=ASKED.own)
    assert reveal(SETUP, (OWN,), task).subjects == SUBJECTS
    assert SUBJECTS[0][0].encode() not in ASKED.partner + ASKED.own


def test_it_opens_for_nobody_else_and_for_nothing_else() -> None:
    with pytest.raises(InvalidPayload, match="sealed-key-wrong"):
        opened(ASKED.partner, keys=(OWN,))
    for changed in ({"exchange": bytes(32)}, {"dataset": "filing"}, {"requester": "de-tax"}):
        context = question_context(NETWORK, replace(ABOUT, **changed), OWNER)
        with pytest.raises(InvalidPayload, match="sealed-context-wrong"):
            open_question((PARTNER,), context, ASKED.partner, COMMITMENTS)
    # It has the parties the other way round: it cannot stand for a delivery to the provider.
    assert FOR_OWNER.requester == OWNER
    assert FOR_OWNER.provider == ASKER


@pytest.mark.parametrize(
    "commitments",
    [(), COMMITMENTS[:1], COMMITMENTS[::-1], (*COMMITMENTS, bytes(32)), (bytes(32),) * 2],
)
def test_others_than_the_ledger_says_are_refused(commitments: tuple[bytes, ...]) -> None:
    with pytest.raises(Failed) as caught:
        opened(ASKED.partner, commitments)
    assert (caught.value.code, caught.value.retry) == ("question-mismatch", False)
    assert SUBJECTS[0][0] not in str(caught.value)


def sealed(plain: bytes) -> bytes:
    return question._seal(PARTNER.public, FOR_OWNER, plain)


@pytest.mark.parametrize(
    "plain",
    [
        b"", b"\xc1", b"[]", msgspec.msgpack.encode({}), msgspec.msgpack.encode([{"id": "a"}]),
        msgspec.msgpack.encode([{"id": "a", "blind": bytes(31)}] * 2),
        msgspec.msgpack.encode([{"id": "a", "blind": bytes(32), "x": 1}]),
        b"\x91\x82\xa2id\xa1\xff\xa5blind\xc4\x01a", b"\x91" * 100_000,
    ],
    ids=["empty", "reserved", "json", "map", "no-blind", "short", "more", "no-utf-8", "deep"],
)  # fmt: skip
def test_what_a_partner_seals_that_is_no_list_of_subjects_is_refused(plain: bytes) -> None:
    with pytest.raises(Failed) as caught:
        opened(sealed(plain))
    assert (caught.value.code, caught.value.retry) == ("question-malformed", False)


def test_every_byte_of_it_matters() -> None:
    data = ASKED.partner
    for at in (*range(64), *range(64, len(data), 61), *range(len(data) - 40, len(data))):
        damaged: Any = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        with pytest.raises(InvalidPayload):
            opened(damaged)
    for size in (0, 1, 31, 32, 33, len(data) - 33, len(data) - 1):
        with pytest.raises(InvalidPayload):
            opened(data[:size])
