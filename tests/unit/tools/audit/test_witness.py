"""A witness answers as c2sp.org/tlog-witness says, forgets nothing, and never goes back."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from ledger.keys import SecretKey, format_secret_key
from ledger.quorum.epochs import policy_of
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint, verify_cosignature
from ledger.tlog.merkle import prove_consistency
from ledger.tlog.note import ED25519, Signature, SignedNote, SigningKey, VerifierKey
from ledger.tlog.policy import Policy
from tests.unit.ledger.builders import LOG_KEY, ORIGIN, LeafReader, make_checkpoint, make_genesis
from tools.audit.witnessing.served import listening
from tools.audit.witnessing.witness import (
    PROOF_LINES_MAX,
    REQUEST_BYTES_MAX,
    CosigningKey,
    Witness,
    judges_of,
)
from tools.cli import main
from tools.exits import ERROR, OK, USAGE, InvalidInput
from tools.mirror import held
from tools.mirror.tree import head_root

SIZE_MAX = 300
READER = LeafReader([number.to_bytes(8, "big") for number in range(SIZE_MAX)])
OTHERS = LeafReader([number.to_bytes(9, "big") for number in range(SIZE_MAX)])
KEY = CosigningKey(name="witness.example/w1", signer=SecretKey(b"W" * 32))
START_S = 1_767_225_600


class Asked:
    """A witness that is served, and its clock."""

    def __init__(self, folder: Path, *, policies: tuple[Policy, ...] = ()) -> None:
        self.time_s = START_S
        keys = () if policies else (LOG_KEY.verifier,)
        self.witness = Witness(KEY, judges_of(keys, policies), folder, lambda: self.time_s)
        self.url = ""

    async def post(self, body: bytes) -> tuple[int, str, bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/add-checkpoint", data=body) as response,
        ):
            return response.status, response.headers["Content-Type"], await response.read()


@asynccontextmanager
async def asked(folder: Path, **options: tuple[Policy, ...]) -> AsyncIterator[Asked]:
    witness = Asked(folder, **options)
    async with asyncio.timeout(60), listening(witness.witness, ("127.0.0.1", 0)) as url:
        witness.url = url
        yield witness


def root_at(reader: LeafReader, size: int) -> bytes:
    return head_root(reader, size)


def note_of(size: int, reader: LeafReader = READER, key: SigningKey = LOG_KEY) -> bytes:
    tree = Checkpoint(origin=key.name, size=size, root=root_at(reader, size))
    return sign_checkpoint(tree, key).format()


def request(
    old: int | str,
    size: int,
    reader: LeafReader = READER,
    *,
    proof: tuple[bytes, ...] | None = None,
) -> bytes:
    if proof is None:
        proof = prove_consistency(reader, int(old), size)
    lines = [f"old {old}", *(base64.b64encode(each).decode() for each in proof), "", ""]
    return "\n".join(lines).encode() + note_of(size, reader)


def cosigned(answer: tuple[int, str, bytes], size: int) -> int:
    """The time on the cosignature, which verifies when it is put behind the checkpoint."""
    status, _, body = answer
    assert status == 200, answer
    note = SignedNote.parse(note_of(size) + body)
    line = note.find_signature(KEY.verifier)
    assert line is not None
    return verify_cosignature(line, KEY.verifier, Checkpoint.parse(note.text))


def test_a_log_that_grows_is_cosigned_step_by_step(tmp_path: Path) -> None:
    async def story() -> None:
        async with asked(tmp_path) as witness:
            old = 0
            for size in (0, 1, 2, 3, 8, 8, 255, 256, 257, SIZE_MAX):
                assert cosigned(await witness.post(request(old, size)), size) == START_S
                old = size

    asyncio.run(story())


@pytest.mark.parametrize("step", [1, 7])
def test_every_step_between_small_sizes(tmp_path: Path, step: int) -> None:
    async def story() -> None:
        for start in range(9):
            witness = Asked(tmp_path / str(start)).witness
            for old, size in ((0, start), (start, start + step)):
                answer = await witness.add_checkpoint(request(old, size))
                assert answer.status == 200, (old, size, answer)

    asyncio.run(story())


OLD = 40  # cosigned before each of these
REFUSED = {
    "no old size": (b"new 0\n\n" + note_of(50), 400),
    "a size with a zero before": (request("040", 50, proof=()), 400),
    "a size with a sign": (request("+40", 50, proof=()), 400),
    "no empty line": (b"old 40\n" + note_of(50).replace(b"\n\n", b"\n"), 400),
    "a short hash": (request(OLD, 50, proof=(b"short",)), 400),
    "a proof that is no base64": (b"old 40\n?\n\n" + note_of(50), 400),
    "a proof without end": (request(OLD, 50, proof=(bytes(32),) * (PROOF_LINES_MAX + 1)), 400),
    "bytes that are no text": (b"old 40\n\xff\n\n" + note_of(50), 400),
    "no checkpoint": (b"old 40\n\nhello\n", 400),
    "a fourth line": (b"old 40\n\n" + note_of(50).replace(b"\n\n", b"\nmore\n\n", 1), 400),
    "an old size above the new one": (request(OLD, 30, proof=()), 400),
    "another log": (
        b"old 0\n\n" + note_of(5, key=SigningKey(name="other.example", kind=1, seed=b"L" * 32)),
        404,
    ),
    "the name of the log under another key": (
        b"old 40\n\n" + note_of(50, key=SigningKey(name=ORIGIN, kind=ED25519, seed=b"x" * 32)),
        403,
    ),
    "a signature of another text": (request(OLD, 50).replace(b"\n50\n", b"\n51\n"), 403),
    "an old size that was overtaken": (request(30, 50), 409),
    "as if for the first time": (request(0, 50), 409),
    "an old size not reached": (request(45, 50), 409),
    "another root of the same size": (request(OLD, OLD, OTHERS), 409),
    "a proof of another log": (request(OLD, 50, OTHERS), 422),
    "no proof": (request(OLD, 50, proof=()), 422),
    "a proof with one hash too many": (
        request(OLD, 50, proof=(*prove_consistency(READER, OLD, 50), bytes(32))),
        422,
    ),
    "a proof where nothing is to be proven": (request(OLD, OLD, proof=(bytes(32),)), 422),
    "a body without end": (request(OLD, 50) + bytes(REQUEST_BYTES_MAX), 413),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_changes_nothing(tmp_path: Path, name: str) -> None:
    body, status = REFUSED[name]

    async def story() -> None:
        async with asked(tmp_path) as witness:
            cosigned(await witness.post(request(0, OLD)), OLD)
            files = contents(tmp_path)
            answer = await witness.post(body)
            assert answer[0] == status, answer
            assert (answer[1] == "text/x.tlog.size") == (status == 409)
            if status == 409:
                assert answer[2] == b"40\n"
            assert contents(tmp_path) == files
            cosigned(await witness.post(request(OLD, 50)), 50)

    asyncio.run(story())


def test_a_first_request_with_a_proof(tmp_path: Path) -> None:
    async def story() -> None:
        async with asked(tmp_path) as witness:
            assert (await witness.post(request(0, 50, proof=(bytes(32),))))[0] == 422

    asyncio.run(story())


def test_other_signatures_do_not_matter(tmp_path: Path) -> None:
    """Neither those of unknown keys nor a wrong one of a key that is not the log's."""
    note = SignedNote.parse(make_checkpoint(OLD, root_at(READER, OLD)))
    stray = Signature(name="x.example", key_hash=b"1234", raw=b"?" * 64)
    body = SignedNote(text=note.text, signatures=(stray, *note.signatures)).format()

    async def story() -> None:
        async with asked(tmp_path) as witness:
            cosigned(await witness.post(b"old 0\n\n" + body), OLD)

    asyncio.run(story())


def test_what_was_cosigned_outlives_a_restart_and_time_never_goes_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with asked(tmp_path) as witness:
            cosigned(await witness.post(request(0, OLD)), OLD)
        async with asked(tmp_path) as witness:
            witness.time_s -= 1_000
            assert (await witness.post(request(0, 50)))[2] == b"40\n"
            assert cosigned(await witness.post(request(OLD, 50)), 50) == START_S
            witness.time_s += 2_000
            assert cosigned(await witness.post(request(50, 50)), 50) == START_S + 1_000

    asyncio.run(story())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read in /proc")
def test_it_is_durable_before_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}")
        if not path.is_dir():
            synced.append(path.read_bytes())
        fsync(descriptor)

    async def story() -> None:
        witness = Asked(tmp_path).witness
        await witness.add_checkpoint(request(0, OLD))
        assert synced == list(contents(tmp_path).values())

    monkeypatch.setattr("os.fsync", record)
    asyncio.run(story())


def test_requests_at_once_are_taken_one_after_the_other(tmp_path: Path) -> None:
    async def story() -> None:
        async with asked(tmp_path) as witness:
            answers = await asyncio.gather(
                *(witness.post(request(0, size)) for size in range(10, 40))
            )
        assert sorted(answer[0] for answer in answers) == [200] + [409] * 29
        (size,) = {int(answer[2]) for answer in answers if answer[0] == 409}
        assert answers[size - 10][0] == 200

    asyncio.run(story())


def test_a_disk_that_fails_gives_no_cosignature(tmp_path: Path) -> None:
    async def story() -> None:
        async with asked(tmp_path / "state") as witness:
            (tmp_path / "state").rmdir()
            assert (await witness.post(request(0, OLD)))[0] == 500
            (tmp_path / "state").mkdir()
            cosigned(await witness.post(request(0, 50)), 50)

    asyncio.run(story())


def test_a_policy_wants_its_quorum(tmp_path: Path) -> None:
    genesis = make_genesis()
    policy = policy_of(genesis, genesis.validators)

    async def story() -> None:
        async with asked(tmp_path, policies=(policy,)) as witness:
            for members, status in ((("north", "south"), 403), (("north", "south", "west"), 200)):
                note = make_checkpoint(OLD, root_at(READER, OLD), cosigners=members)
                assert (await witness.post(b"old 0\n\n" + note))[0] == status

    asyncio.run(story())


def test_two_keys_of_one_log(tmp_path: Path) -> None:
    """As when it changes its key: either may sign, and a wrong line of the other is no harm."""
    second = SigningKey(name=ORIGIN, kind=ED25519, seed=b"2" * 32)
    witness = Witness(
        KEY, judges_of((LOG_KEY.verifier, second.verifier), ()), tmp_path, lambda: START_S
    )
    note = SignedNote.parse(note_of(OLD, key=second))
    wrong = Signature(name=ORIGIN, key_hash=LOG_KEY.verifier.key_hash, raw=bytes(64))
    body = b"old 0\n\n" + SignedNote(text=note.text, signatures=(wrong, *note.signatures)).format()
    assert asyncio.run(witness.add_checkpoint(body)).status == 200


def test_a_damaged_state_stops_the_witness(tmp_path: Path) -> None:
    asyncio.run(Asked(tmp_path).witness.add_checkpoint(request(0, OLD)))
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    for data in (
        b"",
        good[:-3],
        good.replace(b": 40", b": 0"),
        good.replace(b"ledger.", b"other."),
    ):
        path.write_bytes(data)
        with pytest.raises(InvalidInput) as caught:
            Asked(tmp_path)
        assert caught.value.code == "witness-state"


# --- the command ------------------------------------------------------------------------------


def command(folder: Path, *options: object, key: bytes = b"W") -> list[str]:
    path = folder / "witness.key"
    path.write_text(format_secret_key(SecretKey(key * 32)))
    path.chmod(0o600)
    fixed = ("--key", path, "--state", folder / "state")
    return ["audit", "witness", *map(str, (*fixed, *options)), "--json"]


def test_the_command_answers_until_it_is_stopped(tmp_path: Path) -> None:
    options = ("--listen", "127.0.0.1:0", "--name", KEY.name, "--log", LOG_KEY.verifier.format())

    async def story() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tools.cli", *command(tmp_path, *options), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        text = ""
        async with asyncio.timeout(30):
            while not text.endswith("}\n"):
                text += (await process.stdout.readline()).decode()
        document = json.loads(text)
        assert document["logs"] == [ORIGIN]
        assert VerifierKey.parse(document["vkey"]) == KEY.verifier
        asked_ = Asked(tmp_path / "unused")
        asked_.url = document["url"]
        cosigned(await asked_.post(request(0, OLD)), OLD)
        process.terminate()
        assert await process.wait() == OK

    asyncio.run(story())


def test_two_witnesses_do_not_share_a_state(tmp_path: Path) -> None:
    """Each would believe its own memory, and together they would cosign two histories."""
    options = ("--listen", "127.0.0.1:0", "--name", KEY.name, "--log", LOG_KEY.verifier.format())
    with held(tmp_path / "state", is_folder=True):
        result = CliRunner().invoke(main, command(tmp_path, *options))
    assert result.exit_code == ERROR
    assert json.loads(result.stdout)["error"]["code"] == "state-in-use"


@pytest.mark.parametrize(
    ("options", "code", "exit_code"),
    [
        (("--listen", "nowhere"), "listen-invalid", ERROR),
        (("--listen", "192.0.2.1:80"), "listen-failed", ERROR),
        (("--name", "has space"), "witness-name", ERROR),
        (("--log", "log.example+1+2"), "vkey-invalid", ERROR),
        (("--log", KEY.verifier.format()), "vkey-invalid", ERROR),
        (("--policy", "bad"), "policy-invalid", ERROR),
        (("--policy", "none"), "file-unreadable", ERROR),
        ((), "witness-logs", USAGE),
    ],
)
def test_options_that_cannot_be_used(
    tmp_path: Path, options: tuple[str, ...], code: str, exit_code: int
) -> None:
    (tmp_path / "bad").write_bytes(b"quorum")
    given = dict(zip(options[::2], options[1::2], strict=True))
    if "--policy" in given:
        given["--policy"] = str(tmp_path / given["--policy"])
    fixed = {"--listen": "127.0.0.1:0", "--name": KEY.name}
    if options:
        fixed["--log"] = LOG_KEY.verifier.format()
    words = [word for pair in (fixed | given).items() for word in pair]
    result = CliRunner().invoke(main, command(tmp_path, *words))
    assert result.exit_code == exit_code, result.output
    assert json.loads(result.stdout)["error"]["code"] == code
