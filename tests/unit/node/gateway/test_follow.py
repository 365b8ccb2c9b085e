"""What records mean for jobs: every kind, on both sides, in every stage, in any real order."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.lifecycle import STEPS
from ledger.events import Event, ShareRequested
from ledger.registry import EXCHANGES
from ledger.state import exchange_key
from node.gateway.follow import deliver_anew, observe, open_job
from node.gateway.jobs import ACTIVE, Answered, Side, Stage, hold
from tests.builders import (
    ASKER,
    OWNER,
    TIME_MS,
    approve,
    deliver,
    hash32,
    receive,
    refuse,
    reject,
    request,
    withdraw,
)
from tests.exchanges import (
    ASKED,
    CORRECTED,
    OPEN,
    OTHER,
    PAYLOAD,
    REVIEWED,
    SCRIPTS,
    acknowledge,
    ask_consent,
    correct,
    destroy,
    dispute,
    give_consent,
    offer,
    rate,
    refer,
    reference,
    reference_keys,
    refuse_consent,
    resolve,
    use,
)
from tests.unit.node.gateway.samples import DAY_MS, Story, make_payload, replayed

DENIED = request(legal_basis="ended", label="denied")
AGAIN = hash32("again")


def delivered() -> Story:
    return Story(OPEN).prepared().tell(deliver(OPEN))


def received() -> Story:
    return delivered().tell(receive(OPEN))


def corrected() -> Story:
    story = received()
    story.put("provide", "deliver", payload=make_payload(CORRECTED), correction=1)
    return story.tell(correct(OPEN))


def test_a_permitted_request_is_asked_about_and_awaited() -> None:
    story = Story(OPEN)
    assert story.stages() == ("ask", "open")
    for job in story.jobs.values():
        assert (job.status, job.requester, job.provider) == ("permitted", ASKER, OWNER)
        # The contracts allow a year, the request asks for a thousand days.
        assert job.retention_days == 365
    assert isinstance(OPEN.body, ShareRequested)
    assert story.jobs["provide"].subjects == OPEN.body.subjects


def test_an_offer_is_prepared_by_who_offers() -> None:
    story = Story(offer())
    assert story.stages() == ("prepare", "open")
    assert {(job.requester, job.provider) for job in story.jobs.values()} == {(ASKER, OWNER)}


def test_a_denied_request_is_over_on_both_sides_and_nobody_is_remembered() -> None:
    story = Story(DENIED)
    assert story.status() == "denied"
    assert story.stages() == ("closed", "closed")
    assert {job.status for job in story.jobs.values()} == {"denied"}


def test_an_own_request_loses_its_subjects_when_it_is_denied() -> None:
    story = Story(DENIED)
    record, time_ms = story.records[0]
    job = open_job(record, ASKER)
    assert job is not None
    waiting = msgspec.structs.replace(job, stage="request", question=b"q", asked=b"a")
    over = observe(waiting, record, time_ms)
    assert (over.stage, over.question, over.asked) == ("closed", b"", b"")


def test_others_exchanges_open_no_job() -> None:
    story = Story(OPEN, approve(OPEN))
    assert all(open_job(record, OTHER) is None for record, _ in story.records)
    assert open_job(story.records[1][0], OWNER) is None, "an approval opens nothing"


def test_review_waits_for_the_approver() -> None:
    story = Story(REVIEWED)
    assert story.stages() == ("review", "open")
    assert {job.status for job in story.jobs.values()} == {"in_review"}
    story.tell(approve(REVIEWED))
    assert story.stages() == ("ask", "open")
    assert {job.status for job in story.jobs.values()} == {"permitted"}
    refused = Story(REVIEWED, refuse(REVIEWED))
    assert refused.stages() == ("closed", "closed")
    assert {job.status for job in refused.jobs.values()} == {"refused"}


@pytest.mark.parametrize("stage", ["ask", "prepare", "deliver", "held"])
def test_what_is_withdrawn_ends_whatever_the_provider_was_at(stage: Stage) -> None:
    story = Story(OPEN)
    story.put("provide", stage, question=b"q", payload=make_payload(), wake_ms=5, attempts=3)
    story.tell(withdraw(OPEN))
    job = story.jobs["provide"]
    assert (job.stage, job.status, job.question, job.payload) == ("closed", "withdrawn", b"", None)
    assert (job.wake_ms, job.attempts) == (0, 0)


def test_an_event_that_was_refused_changes_nothing() -> None:
    story = received()
    before = dict(story.jobs)
    story.tell(deliver(OPEN, label="twice"))
    assert story.records[-1][0].outcome.code
    for side, job in story.jobs.items():
        assert job == msgspec.structs.replace(before[side], seen_index=job.seen_index)


@pytest.mark.parametrize("side", ["provide", "acquire"])
def test_fields_that_the_contracts_redact_go_on_no_side(side: str) -> None:
    record, time_ms = Story(OPEN).records[0]
    for redact, kept in ((["name"], ("uscc",)), (["uscc", "name"], ())):
        duties = {"redact": redact, "deadline_hours": 72, "retention_days": 30}
        outcome = msgspec.structs.replace(record.outcome, obligations=duties)
        limited = msgspec.structs.replace(record, outcome=outcome)
        job = open_job(limited, OWNER if side == "provide" else ASKER)
        assert job is not None
        job = observe(job, limited, time_ms)
        assert (job.fields, job.retention_days) == (kept, 30)


def test_an_approval_may_shorten_retention_and_never_lengthens_it() -> None:
    story = Story(REVIEWED).tell(approve(REVIEWED))
    record, time_ms = story.records[1]
    days = story.jobs["acquire"].retention_days
    for allowed, kept in ((days + 1, days), (days - 1, days - 1), (0, days)):
        duties = {"redact": [], "deadline_hours": 72, "retention_days": allowed}
        outcome = msgspec.structs.replace(record.outcome, obligations=duties)
        job = msgspec.structs.replace(story.jobs["acquire"], seen_index=-1)
        job = observe(job, msgspec.structs.replace(record, outcome=outcome), time_ms)
        assert job.retention_days == kept


def test_a_delivery_is_offered_here_and_fetched_there() -> None:
    story = delivered()
    assert story.stages() == ("offered", "fetch")
    offered, fetching = story.jobs["provide"], story.jobs["acquire"]
    assert offered.payload == make_payload()
    assert offered.wake_ms == make_payload().outbox_until_ms
    # The requester has what the ledger says; neither blind nor report.
    assert fetching.payload == make_payload(report=b"", blind=b"")
    assert (fetching.status, fetching.correction) == ("delivered", 0)


def test_receipt_starts_retention_on_both_sides() -> None:
    story = delivered().tell(receive(OPEN), days=2)
    assert story.stages() == ("settled", "kept")
    for job in story.jobs.values():
        until_ms = TIME_MS + (2 + 365) * DAY_MS
        assert (job.until_ms, job.wake_ms, job.held) == (until_ms, until_ms, PAYLOAD)


def test_a_delivery_that_this_gateway_did_not_make_is_shown_to_a_person() -> None:
    story = Story(OPEN)
    story.put("provide", "prepare")
    story.tell(deliver(OPEN))
    job = story.jobs["provide"]
    assert (job.stage, job.fault, job.resume) == ("held", "delivered-elsewhere", "offered")
    assert job.detail == PAYLOAD.hex()
    # Whoever made it, its end is followed, and a correction knows what it corrects.
    story.tell(receive(OPEN))
    job = story.jobs["provide"]
    assert (job.stage, job.fault) == ("settled", "")
    assert job.payload is not None
    assert job.payload.commitment == PAYLOAD


def test_a_rejected_delivery_is_held_and_delivered_again_under_another_number() -> None:
    story = delivered()
    story.put("acquire", "answer", codes=(50007,))
    story.tell(reject(OPEN, text="three rows"))
    held, waiting = story.jobs["provide"], story.jobs["acquire"]
    assert (held.stage, held.resume, held.fault) == ("held", "prepare", "delivery-rejected")
    assert held.detail == "50007 three rows"
    assert (waiting.stage, waiting.status) == ("open", "rejected")
    assert held.correction == waiting.correction == 1
    story.prepared(AGAIN).tell(deliver(OPEN, commitment=AGAIN))
    assert story.stages() == ("offered", "fetch")
    assert story.jobs["acquire"].codes == ()
    assert len({job.file_name for job in story.jobs.values()}) == 1


def test_a_correction_is_offered_and_fetched_and_retention_ends_when_it_would_have() -> None:
    story = corrected()
    assert story.stages() == ("offered", "fetch")
    fetching = story.jobs["acquire"]
    assert (fetching.correction, fetching.supersedes, fetching.held) == (1, PAYLOAD, PAYLOAD)
    assert {job.status for job in story.jobs.values()} == {"received"}
    story.tell(acknowledge(OPEN), days=9)
    assert story.stages() == ("settled", "kept")
    for job in story.jobs.values():
        assert job.wake_ms == job.until_ms == TIME_MS + 365 * DAY_MS
        assert job.held == CORRECTED


def test_a_correction_of_a_correction_replaces_what_is_still_fetched() -> None:
    story = corrected()
    story.put("provide", "deliver", payload=make_payload(AGAIN), correction=2)
    story.put("acquire", "check", downloads=2, codes=(50001,))
    second = correct(OPEN, supersedes=CORRECTED, commitment=AGAIN)
    story.tell(second)
    assert story.stages() == ("offered", "fetch")
    fetching = story.jobs["acquire"]
    assert fetching.correction == story.jobs["provide"].correction == 2
    assert (fetching.supersedes, fetching.held) == (CORRECTED, PAYLOAD)
    assert (fetching.downloads, fetching.codes) == (0, ())
    # The ledger takes an acknowledgement of the newest one only.
    story.tell(acknowledge(OPEN, commitment=CORRECTED))
    assert story.stages() == ("offered", "fetch")
    story.tell(acknowledge(OPEN, commitment=AGAIN))
    assert story.stages() == ("settled", "kept")


def test_corrections_made_elsewhere_keep_both_sides_at_the_same_number() -> None:
    story = received().tell(correct(OPEN))
    job = story.jobs["provide"]
    assert (job.stage, job.fault) == ("held", "delivered-elsewhere")
    assert job.correction == story.jobs["acquire"].correction == 1
    assert (job.supersedes, story.jobs["acquire"].supersedes) == (PAYLOAD, PAYLOAD)
    busy = received()
    busy.put("provide", "prepare", correction=1, supersedes=PAYLOAD)
    busy.tell(correct(OPEN))
    assert busy.jobs["provide"].fault == "delivered-elsewhere"
    assert busy.jobs["provide"].correction == busy.jobs["acquire"].correction == 1


@pytest.mark.parametrize("stage", ["erase", "attest"])
@pytest.mark.parametrize("is_held", [False, True])
def test_what_is_being_destroyed_is_not_fetched_anew(stage: Stage, *, is_held: bool) -> None:
    story = received()
    story.put("acquire", stage)
    if is_held:
        story.jobs["acquire"] = hold(story.jobs["acquire"], "work-disk", "")
    before = story.jobs["acquire"]
    story.tell(correct(OPEN))
    after = story.jobs["acquire"]
    assert after == msgspec.structs.replace(before, seen_index=after.seen_index)
    # And the ledger takes the attestation of what the requester held.
    story.tell(destroy(OPEN, commitment=after.held))
    assert story.status() == "destroyed"
    assert story.stages()[1] == "closed"


def test_after_destruction_a_correction_is_for_other_holders_only() -> None:
    onward = use(OPEN, consent=ASKED.digest)
    story = received().tell(ASKED, give_consent(OPEN, ASKED), onward, destroy(OPEN))
    assert story.stages() == ("closed", "closed")
    assert {job.status for job in story.jobs.values()} == {"destroyed"}
    story.tell(correct(OPEN))
    assert not story.records[-1][0].outcome.code
    assert story.stages() == ("closed", "closed")


def test_what_other_holders_do_is_not_the_requesters_doing() -> None:
    onward = use(OPEN, consent=ASKED.digest)
    story = received().tell(ASKED, give_consent(OPEN, ASKED), onward)
    story.put("provide", "deliver", payload=make_payload(CORRECTED), correction=1)
    story.tell(correct(OPEN))
    before = dict(story.jobs)
    story.tell(acknowledge(OPEN, member=OTHER))
    story.tell(destroy(OPEN, member=OTHER, commitment=CORRECTED))
    assert [record.outcome.code for record, _ in story.records[-2:]] == ["", ""]
    assert story.stages() == ("offered", "fetch")
    for side, job in story.jobs.items():
        assert job == msgspec.structs.replace(before[side], seen_index=job.seen_index)


def test_use_is_shown_and_changes_nothing_else() -> None:
    story = received()
    before = dict(story.jobs)
    story.tell(use(OPEN))
    for side, job in story.jobs.items():
        changes = {"seen_index": job.seen_index, "status": "used"}
        assert job == msgspec.structs.replace(before[side], **changes)


PLACES: list[tuple[Side, Stage]] = [
    *sorted(ACTIVE),
    *(("provide", stage) for stage in ("review", "offered", "settled", "held", "closed")),
    *(("acquire", stage) for stage in ("open", "kept", "held", "closed")),
]


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_no_record_makes_a_job_that_cannot_go_on(kind: str) -> None:
    """Wherever a gateway stands, such as one that comes back from a backup."""
    before, make = SCRIPTS[kind]
    story = Story(*before)
    jobs = dict(story.jobs)
    story.tell(make(before[0]))
    assert story.records[-1][0].outcome.code == ""
    for side, stage in PLACES:
        job = msgspec.structs.replace(
            jobs[side], stage=stage, payload=make_payload(hash32("older")), seen_index=-1
        )
        job = observe(job, *story.records[-1])
        assert (side, job.stage) in PLACES
        needs_payload = job.stage in ("fetch", "check", "hand", "deliver", "offered")
        assert job.payload is not None or not needs_payload, (side, stage)
        assert observe(job, *story.records[-1]) == job, "seen twice is seen once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What events to come may name. Each has a label of its own, so that it is not the same one."""

    start: Event
    label: str
    new: bytes
    present: bytes
    held: bytes
    asked: Event
    disputed: Event


STEP_MAKERS: dict[str, Callable[[Now], Event]] = {
    "approved": lambda now: approve(now.start, label=now.label),
    "refused": lambda now: refuse(now.start, label=now.label),
    "withdrawn": lambda now: withdraw(now.start, label=now.label),
    "delivered": lambda now: deliver(now.start, label=now.label, commitment=now.new),
    "corrected": lambda now: correct(
        now.start, label=now.label, supersedes=now.present, commitment=now.new
    ),
    "received": lambda now: receive(now.start, label=now.label, commitment=now.present),
    "rejected": lambda now: reject(now.start, label=now.label, commitment=now.present),
    "used": lambda now: use(now.start, label=now.label, commitment=now.held),
    "acknowledged": lambda now: acknowledge(now.start, label=now.label, commitment=now.present),
    "destroyed": lambda now: destroy(now.start, label=now.label, commitment=now.held),
    "asked": lambda now: ask_consent(now.start, label=now.label),
    "given": lambda now: give_consent(now.start, now.asked, label=now.label),
    "not-given": lambda now: refuse_consent(now.start, now.asked, label=now.label),
    "onward": lambda now: use(
        now.start, label=now.label, commitment=now.held, consent=now.asked.digest
    ),
    "onward-acknowledged": lambda now: acknowledge(
        now.start, label=now.label, commitment=now.present, member=OTHER
    ),
    "onward-destroyed": lambda now: destroy(
        now.start, label=now.label, commitment=now.held, member=OTHER
    ),
    "disputed": lambda now: dispute(now.start, label=now.label),
    "resolved": lambda now: resolve(now.start, now.disputed, label=now.label),
    "rated": lambda now: rate(now.start, label=now.label),
}
# Stages in which a job may wait or work while the ledger has a status.
AGREES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "in_review": (frozenset(("review",)), frozenset(("open",))),
    "permitted": (frozenset(("ask", "prepare", "deliver")), frozenset(("open",))),
    "denied": (frozenset(("closed",)), frozenset(("closed",))),
    "refused": (frozenset(("closed",)), frozenset(("closed",))),
    "withdrawn": (frozenset(("closed",)), frozenset(("closed",))),
    "delivered": (frozenset(("offered", "held")), frozenset(("fetch",))),
    "rejected": (frozenset(("held", "deliver")), frozenset(("open",))),
    "received": (frozenset(("settled", "offered", "held")), frozenset(("kept", "fetch"))),
    "used": (frozenset(("settled", "offered", "held")), frozenset(("kept", "fetch"))),
    "destroyed": (frozenset(("closed",)), frozenset(("closed",))),
}


def play(start: Event, steps: list[tuple[str, bool]]) -> Story:
    """Whatever is tried, also what is refused; deliveries of the gateway and of others."""
    story = Story(start)
    asked = disputed = start
    for number, (name, is_own) in enumerate(steps):
        data = story.state.get(exchange_key(start.digest))
        assert data is not None
        now = Now(
            start=start,
            label=f"step {number}",
            new=hash32(f"delivery {number}"),
            present=EXCHANGES.decode(data).commitment or bytes(32),
            held=story.jobs["acquire"].held or bytes(32),
            asked=asked,
            disputed=disputed,
        )
        before = story.jobs["provide"]
        if is_own and name in ("delivered", "corrected") and before.stage != "closed":
            is_more = name == "corrected" and before.stage == "settled"
            number_now = before.correction + is_more
            story.put("provide", "deliver", payload=make_payload(now.new), correction=number_now)
        event = STEP_MAKERS[name](now)
        story.tell(event)
        if story.records[-1][0].outcome.code:
            # What may not follow, the gateway would not have prepared.
            seen_index = story.jobs["provide"].seen_index
            story.jobs["provide"] = msgspec.structs.replace(before, seen_index=seen_index)
        elif name == "asked":
            asked = event
        elif name == "disputed":
            disputed = event
    return story


# Mostly what leads on, so that many examples come far.
LEADING = ("approved", "delivered", "received", "corrected", "acknowledged")
NAMES = st.one_of(st.sampled_from(LEADING), st.sampled_from(sorted(STEP_MAKERS)))


@given(
    st.sampled_from((OPEN, REVIEWED, DENIED, offer())),
    st.lists(st.tuples(NAMES, st.booleans()), max_size=12),
)
def test_any_real_lifecycle_leaves_both_sides_where_the_ledger_is(
    start: Event, steps: list[tuple[str, bool]]
) -> None:
    story = play(start, steps)
    provider, requester = AGREES[story.status()]
    assert story.jobs["provide"].stage in provider, story.status()
    assert story.jobs["acquire"].stage in requester, story.status()
    for job in story.jobs.values():
        assert job.status == story.status()
    assert story.jobs["provide"].correction == story.jobs["acquire"].correction
    assert story.jobs["provide"].held == story.jobs["acquire"].held


@given(
    st.lists(st.tuples(NAMES, st.booleans()), max_size=10),
    st.lists(st.integers(min_value=0, max_value=11), max_size=5),
)
def test_records_seen_again_and_again_are_seen_once(
    steps: list[tuple[str, bool]], crashes: list[int]
) -> None:
    """After a crash the stream begins anew, from the start at worst."""
    records = play(OPEN, steps).records
    seen = [*(record for end in crashes for record in records[:end]), *records]
    assert replayed(seen) == replayed(records)


def test_a_hold_keeps_the_end_of_retention_in_sight() -> None:
    story = received()
    job = hold(story.jobs["acquire"], "correction-unusable", "")
    assert (job.stage, job.resume, job.wake_ms) == ("held", "kept", job.until_ms)
    again = hold(job, "another", "")
    assert (again.resume, again.fault) == ("kept", "another")


def referred() -> Story:
    """A message of the reporting standard whose first documents are named."""
    story = Story(*reference_keys(), OPEN)
    story.put("provide", "refer", payload=make_payload(form="crs"))
    return story.tell(refer(OPEN))


def of_message() -> Story:
    """All its documents are named, and it is delivered."""
    story = referred().tell(refer(OPEN, reference("b")))
    story.put("provide", "deliver", payload=make_payload(form="crs"))
    return story.tell(deliver(OPEN))


def test_both_sides_know_alike_what_the_ledger_names_of_a_message() -> None:
    story = referred()
    provide, acquire = story.jobs["provide"], story.jobs["acquire"]
    assert story.stages() == ("refer", "open")
    assert provide.named == acquire.named is not None
    assert provide.named.parts == 1
    story.tell(refer(OPEN, reference("b")))
    more = story.jobs["acquire"].named
    assert more is not None
    assert (more.parts, more.message) == (2, provide.named.message)
    assert more.digest != provide.named.digest
    # What is refused names nothing; another message begins anew.
    story.tell(refer(OPEN, reference("b"), label="again"))
    assert story.records[-1][0].outcome.code == "oecd-80000"
    assert story.jobs["acquire"].named == more
    story.tell(refer(OPEN, reference("c"), message="2"))
    other = story.jobs["acquire"].named
    assert other is not None
    assert (other.parts, other.message == more.message) == (1, False)


def test_an_own_event_about_documents_is_done_with_and_anothers_is_not() -> None:
    first, second = refer(OPEN), refer(OPEN, reference("b"), label="next")
    story = Story(*reference_keys(), OPEN)
    story.put("provide", "refer", payload=make_payload(form="crs"), event=second.data)
    assert story.tell(first).jobs["provide"].event == second.data
    assert story.tell(second).jobs["provide"].event == b""
    assert story.stages()[0] == "refer"


def test_a_delivery_takes_over_what_was_named_before_it() -> None:
    story = of_message()
    job = story.jobs["acquire"]
    assert job.payload is not None
    assert job.payload.named is not None
    assert (job.payload.named.parts, job.named) == (2, None)
    assert story.jobs["provide"].named is None
    assert replayed(story.records)["acquire"] == job


def test_of_a_message_the_provider_learns_what_the_requester_says() -> None:
    story = of_message().tell(receive(OPEN))
    assert story.stages() == ("learn", "kept")
    job = story.jobs["provide"]
    assert (job.status, job.wake_ms) == ("received", 0)
    assert job.until_ms == story.jobs["acquire"].until_ms > 0
    rejected = of_message().tell(reject(OPEN))
    assert rejected.stages() == ("learn", "open")
    job = rejected.jobs["provide"]
    assert (job.status, job.codes, job.correction) == ("rejected", (50007,), 0)
    again = deliver_anew(job, job.codes, job.text)
    assert (again.stage, again.resume, again.fault) == ("held", "prepare", "delivery-rejected")
    assert (again.correction, again.codes, again.text) == (1, (), "")
    assert again.detail.startswith("50007")


def test_of_a_corrected_message_the_provider_learns_it_again() -> None:
    story = of_message().tell(receive(OPEN))
    story.put("provide", "refer", payload=make_payload(CORRECTED, form="crs"), correction=1)
    story.tell(refer(OPEN, reference("c"), message="2"))
    story.put("provide", "deliver", event=b"")
    story.tell(correct(OPEN))
    job = story.jobs["acquire"]
    assert (job.stage, job.correction) == ("fetch", 1)
    assert job.payload is not None
    assert job.payload.named is not None
    assert job.payload.named.parts == 1
    story.tell(acknowledge(OPEN))
    assert story.stages() == ("learn", "kept")


@pytest.mark.parametrize("side", ["provide", "acquire"])
def test_a_status_message_is_forgotten_with_the_rest(side: Side) -> None:
    for story, last in (
        (of_message().tell(receive(OPEN)), destroy(OPEN)),
        (referred(), withdraw(OPEN)),
    ):
        stage = story.jobs[side].stage
        story.put(side, stage, answered=Answered(correction=0, document=b"<a/>"))
        story.tell(last)
        assert (story.jobs[side].stage, story.jobs[side].answered) == ("closed", None)


def test_partners_and_names_of_files_follow_from_the_side() -> None:
    story = corrected()
    provide, acquire = story.jobs["provide"], story.jobs["acquire"]
    assert (provide.partner, acquire.partner) == (ASKER, OWNER)
    assert provide.file_name == acquire.file_name == f"{OPEN.digest.hex()}.1.sealed"
    assert list(provide.file_names) == [
        f"{OPEN.digest.hex()}.{n}.{kind}" for n in (0, 1) for kind in ("sealed", "references")
    ]
