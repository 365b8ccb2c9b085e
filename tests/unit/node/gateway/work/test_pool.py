"""Children with a plug-in that hangs, dies, eats, prints, raises: one task fails, nothing else."""

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.gateway.work.pool import Pool
from node.gateway.work.tasks import (
    Asked,
    Check,
    Checked,
    Done,
    Erase,
    Hand,
    Plug,
    Prepared,
    Reveal,
    Revealed,
    SealQuestion,
)
from node.records.report import Report, encode_report
from tests.builders import hash32
from tests.unit.node.gateway.work.bench import (
    ABOUT,
    OWN,
    RULES,
    environment,
    install,
    lines,
    make_prepare,
    odd,
    refusal,
    seal,
    with_pool,
)

SECRET = "91110000600037341L"  # a number of a taxpayer, which must not be told


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with the plug-in on the way of children."""
    site = tmp_path / "site"
    site.mkdir()
    install(site)
    monkeypatch.setenv("PYTHONPATH", environment(site))
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def process_file(pid: int, name: str) -> bytes:
    """What the system shows of a process."""
    return Path(f"/proc/{pid}/{name}").read_bytes()


def test_a_payload_appears_whole_under_its_name(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        prepared = await pool.run(make_prepare(outbox / "a.sealed"), Prepared)
        assert prepared.record_count == 3
        assert prepared.size_bytes == (outbox / "a.sealed").stat().st_size
        assert (outbox / "a.sealed").stat().st_mode & 0o777 == 0o600
        assert names(outbox) == ["a.sealed"]

    with_pool(outbox, story)


@pytest.mark.parametrize(
    ("does", "code", "detail", "retry"),
    [
        ("exit", "work-died", "Prepare: exit 7", True),
        ("exit-late", "work-died", "Prepare: exit 7", True),
        ("leave", "work-crashed", "SystemExit", True),
        ("eat", "work-memory", "Prepare", False),
        ("raise", "work-crashed", "KeyError", True),
        ("raise-late", "work-crashed", "ValueError", True),
        ("bytes", "work-crashed", "TypeError", True),
        ("refuse", "portal-closed", "until 8", False),
    ],
)
def test_a_plug_in_that_fails_fails_its_task_only(
    outbox: Path, does: str, code: str, detail: str, *, retry: bool
) -> None:
    """No value of a record is told, no file is left, and the next task finds a child."""

    async def story(pool: Pool) -> None:
        for _ in range(2):
            failed = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
            assert (failed.code, failed.detail, failed.retry) == (code, detail, retry)
            assert SECRET not in str(failed)
        asked = await pool.run(
            SealQuestion(about=ABOUT, subjects=(("a", bytes(32)),), recipient=OWN.public), Asked
        )
        assert asked.own
        left = names(outbox)
        # A child that dies cannot clean up; the gateway does.
        assert left == [] or (code == "work-died" and left == ["a.sealed.partial"])

    with_pool(outbox, story, **odd(does=does))


def test_a_child_without_a_sign_of_life_is_killed(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        failed = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        assert (failed.code, failed.detail, failed.retry) == (
            "work-stalled", "Prepare: 3 s", True
        )  # fmt: skip
        assert not pool._all

    with_pool(outbox, story, stall_s=3, **odd(does="hang"))


def test_a_child_that_takes_no_task_is_killed_too(outbox: Path) -> None:
    """A stopped one reads nothing, so that a large task never leaves the gateway."""

    async def story(pool: Pool) -> None:
        await pool.run(Erase(exchange=bytes(32)), Done)
        [child] = pool._all
        os.kill(child.pid, signal.SIGSTOP)
        # Only from now on: to start takes longer on a busy machine.
        pool._stall_s = 1
        subjects = tuple((f"{n:018d}", hash32(str(n))) for n in range(10_000))
        task = SealQuestion(about=ABOUT, subjects=subjects, recipient=OWN.public)
        async with asyncio.timeout(30):
            assert (await refusal(pool.run(task, Asked))).code == "work-stalled"

    with_pool(outbox, story)


def test_a_plug_in_that_answers_in_place_of_the_child_fails_its_task_only(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        error = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        assert (error.code, error.retry) == ("work-died", True)
        await pool.run(Erase(exchange=bytes(32)), Done)

    with_pool(outbox, story, **odd(does="lie"))


def test_empty_pieces_are_signs_of_life(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        await pool.run(SealQuestion(about=ABOUT, subjects=(), recipient=OWN.public), Asked)
        # Four seconds of pieces, with a sign of life about each second.
        pool._stall_s = 3
        prepared = await pool.run(make_prepare(outbox / "a.sealed"), Prepared)
        assert prepared.record_count == 3

    with_pool(outbox, story, **odd(does="slow", rows=3))


def test_what_a_plug_in_prints_does_not_get_between_the_frames(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        prepared = await pool.run(make_prepare(outbox / "a.sealed"), Prepared)
        assert prepared.record_count == 2

    with_pool(outbox, story, **odd(does="print", rows=2))


def test_fields_that_are_not_permitted_stay_here(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        prepared = await pool.run(make_prepare(outbox / "a.sealed"), Prepared)
        assert prepared.record_count == 1
        assert b"representative" in prepared.report, "it is counted"

    with_pool(outbox, story, **odd(does="forbidden"))


@pytest.mark.parametrize("fields", [(), ("representative", "uscc")])
def test_no_field_is_not_every_field(outbox: Path, fields: tuple[str, ...]) -> None:
    """Contracts may redact all that was asked for; then nothing goes out."""

    async def story(pool: Pool) -> None:
        about = replace(ABOUT, fields=fields)
        work = pool.run(make_prepare(outbox / "a.sealed", about=about), Prepared)
        if fields:
            await work
            return
        failed = await refusal(work)
        assert (failed.code, failed.retry) == ("fields-none", False)
        assert names(outbox) == []

    with_pool(outbox, story, **odd(does="forbidden"))


@pytest.mark.parametrize("encoding", ["utf-16", "nonsense"])
def test_an_encoding_that_is_none_is_a_fault_with_a_code(outbox: Path, encoding: str) -> None:
    async def story(pool: Pool) -> None:
        failed = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        assert failed.code
        assert names(outbox) == []

    with_pool(outbox, story, **odd(does="rows", rows=3, encoding=encoding))


def test_a_source_without_a_usable_row_is_not_sent(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        task = make_prepare(outbox / "a.sealed")
        # Rows of a registration are no rows of an account.
        about = replace(ABOUT, dataset="account", fields=("account-number",))
        failed = await refusal(pool.run(replace(task, about=about), Prepared))
        assert (failed.code, failed.retry) == ("records-all-rejected", False)
        assert names(outbox) == []

    plug = Plug(name="odd", options={"does": "rows", "rows": 5})
    with_pool(outbox, story, connectors={"account": plug})


def test_a_dataset_without_a_connector_or_with_a_wrong_one(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        failed = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        assert (failed.code, failed.detail, failed.retry) == (
            "connector-missing", "registration", False
        )  # fmt: skip

    with_pool(outbox, story, connectors={})

    async def unknown(pool: Pool) -> None:
        failed = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        assert (failed.code, failed.retry) == ("plugin-unknown", False)

    with_pool(outbox, unknown, connectors={"registration": Plug(name="nonsense")})


def test_a_disk_without_room_is_told_and_leaves_nothing(outbox: Path) -> None:
    """Children take over the limit; a larger file is then a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    async def story(pool: Pool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            failed = await refusal(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert (failed.code, failed.retry) == ("work-disk", True)
        assert names(outbox) == []

    with_pool(outbox, story, **odd(does="rows", rows=20_000))


def make_hand(path: Path, commitment: bytes, plaintext: bytes, **changed: Any) -> Hand:
    report = encode_report(EMPTY_REPORT)
    fields: dict[str, Any] = {
        "about": ABOUT, "commitment": commitment, "record_count": plaintext.count(b"\n"),
        "plain_bytes": len(plaintext), "report": report, "path": str(path), **changed,
    }  # fmt: skip
    return Hand(**fields)


EMPTY_REPORT = Report(
    version=1, dataset="registration", schema_version=1, fields=("name", "uscc"), rows=0,
    accepted=0, rejected=0, duplicates=0, fixed=0, warned=0, rules=(),
)  # fmt: skip
ROWS = lines({"name": "a", "uscc": SECRET})
GOOD = {"name": "某公司", "uscc": SECRET}


def test_a_receiver_gets_the_records_or_nothing(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        commitment = seal(outbox / "a.sealed", ROWS)
        await pool.run(make_hand(outbox / "a.sealed", commitment, ROWS), Done)
        [folder] = (outbox / "received").iterdir()
        assert (folder / "records.jsonl").read_bytes() == ROWS
        await pool.run(Erase(exchange=ABOUT.exchange), Done)
        assert list((outbox / "received").iterdir()) == []

    receiver = Plug(name="folder", options={"path": "received"})
    with_pool(outbox, story, receiver=receiver)


def make_check(path: Path, commitment: bytes, **changed: Any) -> Check:
    fields: dict[str, Any] = {
        "about": ABOUT, "rules": RULES, "commitment": commitment, "record_count": 1,
        "path": str(path), "report": encode_report(EMPTY_REPORT), **changed,
    }  # fmt: skip
    return Check(**fields)


def test_what_is_small_is_checked_and_handed_over_in_one_go(outbox: Path) -> None:
    good = lines(GOOD)
    path = outbox / "a.sealed"

    async def story(pool: Pool) -> None:
        commitment = seal(path, good)
        # Without a report nothing is handed over, nor where the verdict is not good.
        for changed in ({"report": b""}, {"record_count": 2}, {"commitment": bytes(32)}):
            told = await pool.run(
                make_check(path, **{"commitment": commitment, **changed}), Checked
            )
            assert not told.handed
            assert not (outbox / "received").exists()
        for _ in range(2):
            told = await pool.run(make_check(path, commitment), Checked)
            assert (told.codes, told.handed, told.plain_bytes) == ((), True, len(good))
            [folder] = (outbox / "received").iterdir()
            assert (folder / "records.jsonl").read_bytes() == good
            assert b'"rows": 0' in (folder / "report.json").read_bytes()

    with_pool(outbox, story, receiver=Plug(name="folder", options={"path": "received"}))


@pytest.mark.parametrize(
    "receiver",
    [
        Plug(name="odd", options={"does": "raise"}),
        Plug(name="folder", options={"path": "absent/received"}),
        Plug(name="folder", options={"unknown": 1}),
    ],
)
def test_what_cannot_be_handed_over_at_once_is_a_step_of_its_own(
    outbox: Path, receiver: Plug
) -> None:
    async def story(pool: Pool) -> None:
        commitment = seal(outbox / "a.sealed", lines(GOOD))
        told = await pool.run(make_check(outbox / "a.sealed", commitment), Checked)
        assert (told.codes, told.handed) == ((), False)

    with_pool(outbox, story, receiver=receiver)


def test_what_the_disk_lost_after_the_check_is_told_as_damage(outbox: Path) -> None:
    path = outbox / "a.sealed"

    async def story(pool: Pool) -> None:
        commitment = seal(path, ROWS)
        whole = path.read_bytes()
        for data in (whole[:-1], whole[:10], b"", bytes(len(whole)), whole + b"x"):
            path.write_bytes(data)
            failed = await refusal(pool.run(make_hand(path, commitment, ROWS), Done))
            assert (failed.code, failed.retry) == ("payload-damaged", True), data[:8]
        path.unlink()
        failed = await refusal(pool.run(make_hand(path, commitment, ROWS), Done))
        assert failed.code == "payload-damaged"
        received = outbox / "received"
        assert list(received.iterdir()) == [] if received.exists() else True

    with_pool(outbox, story, receiver=Plug(name="folder", options={"path": "received"}))


@pytest.mark.parametrize(
    ("does", "code"), [("raise", "work-crashed"), ("exit", "work-died"), ("hang", "work-stalled")]
)
def test_a_receiver_that_fails_tells_no_record(outbox: Path, does: str, code: str) -> None:
    async def story(pool: Pool) -> None:
        commitment = seal(outbox / "a.sealed", ROWS)
        failed = await refusal(pool.run(make_hand(outbox / "a.sealed", commitment, ROWS), Done))
        assert failed.code == code
        assert SECRET not in str(failed)

    receiver = Plug(name="odd", options={"does": does})
    with_pool(outbox, story, receiver=receiver, stall_s=3 if does == "hang" else 60)


def test_a_child_that_died_while_it_had_nothing_to_do_is_replaced(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        task = SealQuestion(about=ABOUT, subjects=(), recipient=OWN.public)
        await pool.run(task, Asked)
        [child] = pool._all
        child.kill()
        await child.wait()
        await pool.run(task, Asked)
        [another] = pool._all
        assert another.pid != child.pid

    with_pool(outbox, story)


def test_who_is_cancelled_leaves_no_child(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        running = asyncio.create_task(pool.run(make_prepare(outbox / "a.sealed"), Prepared))
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not pool._all

    with_pool(outbox, story, **odd(does="hang"))


def test_children_are_started_when_needed_and_no_more_than_allowed(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        assert not pool._all
        task = SealQuestion(about=ABOUT, subjects=(("a", bytes(32)),), recipient=OWN.public)
        await asyncio.gather(*(pool.run(task, Asked) for _ in range(12)))
        assert 1 <= len(pool._all) <= 2

    with_pool(outbox, story, size=2)


def test_keys_are_in_no_argument_and_no_environment(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        await pool.run(SealQuestion(about=ABOUT, subjects=(), recipient=OWN.public), Asked)
        [child] = pool._all
        for name in ("cmdline", "environ"):
            data = process_file(child.pid, name)
            assert hash32("own seed") not in data
            assert hash32("own seed").hex().encode() not in data

    with_pool(outbox, story)


def test_subjects_come_back_to_who_asked(outbox: Path) -> None:
    async def story(pool: Pool) -> None:
        subjects = tuple((f"91110000{n:010d}", hash32(str(n))) for n in range(1_000))
        about = replace(ABOUT, requester="cn-3302-tax", provider="cn-3301-tax")
        asked = await pool.run(
            SealQuestion(about=about, subjects=subjects, recipient=OWN.public), Asked
        )
        reveal = Reveal(about=about, question=asked.own)
        assert (await pool.run(reveal, Revealed)).subjects == subjects

    with_pool(outbox, story)


def peak_bytes(pid: int) -> int:
    """Most memory that a process ever had."""
    text = process_file(pid, "status").decode()
    [line] = [line for line in text.splitlines() if "VmHWM" in line]
    return int(line.split()[1]) * 1_024


@pytest.mark.slow
def test_a_large_payload_passes_in_little_memory(outbox: Path) -> None:
    """A hundred thousand rows, prepared, checked and handed over by one child."""
    peaks: dict[int, int] = {}

    def story_of(rows: int) -> Any:
        async def story(pool: Pool) -> None:
            path = outbox / f"{rows}.sealed"
            task = make_prepare(path, recipient=OWN.public)
            prepared = await pool.run(task, Prepared)
            assert prepared.record_count == rows
            checking = Check(
                about=ABOUT, rules=RULES, commitment=prepared.commitment, record_count=rows,
                path=str(path),
            )  # fmt: skip
            checked = await pool.run(checking, Checked)
            assert checked.codes == ()
            hand = make_hand(
                path, prepared.commitment, b"", record_count=rows,
                plain_bytes=checked.plain_bytes, report=prepared.report,
            )  # fmt: skip
            await pool.run(hand, Done)
            [child] = pool._all
            peaks[rows] = peak_bytes(child.pid)

        return story

    for rows in (2_000, 100_000):
        with_pool(
            outbox, story_of(rows), receiver=Plug(name="folder", options={"path": f"in{rows}"}),
            **odd(does="rows", rows=rows),
        )  # fmt: skip
    records = next((outbox / "in100000").iterdir()) / "records.jsonl"
    assert records.stat().st_size > 10_000_000
    assert peaks[100_000] < peaks[2_000] + 40_000_000, peaks
