"""Logs that span epochs: mirrored, receipts checked on- and offline, double votes listed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from ledger.quorum.epochs import EPOCH_PROOFS
from ledger.quorum.governance import EvidenceEquivocation
from ledger.quorum.votes import Kind, Subject, Vote, encode_vote, signed_vote
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt
from ledger.verify import verify_log
from tests.unit.ledger.builders import (
    ChainBuilder,
    LeafReader,
    consensus_secret,
    make_copy,
    make_event,
)
from tests.unit.ledger.test_verify_epochs import FIVE, OTHERS, spanning
from tests.unit.tools.test_doctor import serving
from tools.cli import main
from tools.exits import ERROR, NOT_FOUND, OK, UNVERIFIED
from tools.mirror import folder_reader, read_genesis

VIEW = 4


def tally(*arguments: object, exit_code: int = OK) -> dict[str, Any]:
    result: Result = CliRunner().invoke(main, [*map(str, arguments), "--lang", "en", "--json"])
    assert result.exit_code == exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def code_of(document: dict[str, Any]) -> str:
    return str(document["error"]["code"])


@contextmanager
def node_of(chain: ChainBuilder, **lies: bytes) -> Iterator[str]:
    """A node that serves the log, and the receipt of every entry under its checkpoint."""
    files = chain.copy(**lies)
    answers = {f"/log/{name}": (200, data) for name, data in files.items()}
    answers |= {f"/v1/log/{name}": answer for name, answer in answers.items()}
    answers["/v1/genesis"] = (200, files["genesis.json"])
    for name, data in files.items():
        if name.startswith("epochs/"):
            answers[f"/v1/log/{name}"] = (200, data)
    note = SignedNote.parse(files["checkpoint"])
    reader = LeafReader(chain.entries)
    for index, entry in enumerate(chain.entries):
        proof = prove_inclusion(reader, index, len(chain.entries))
        receipt = Receipt(index=index, proof=proof, note=note).format()
        document = msgspec.json.encode({"data": entry.hex()})
        answers[f"/v1/entries/{index}"] = (200, document)
        answers[f"/v1/entries/{index}/receipt?wait=30"] = (200, receipt)
    with serving(answers) as url:
        yield url


@pytest.fixture
def genesis_file(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.json"
    path.write_bytes(spanning().copy()["genesis.json"])
    return path


# --- mirrors ----------------------------------------------------------------------------------


def test_a_mirror_keeps_the_proofs_and_the_policy_of_its_epoch(
    tmp_path: Path, genesis_file: Path
) -> None:
    chain, folder = spanning(), tmp_path / "copy"
    with node_of(chain) as url:
        tally("audit", "mirror", url, folder, "--genesis", genesis_file)
        for name, data in chain.copy().items():
            assert (folder / name).read_bytes() == data, name
        assert b"witness a " in (folder / "policy").read_bytes()
        # A second time starts from the proofs that are there.
        assert tally("audit", "mirror", url, folder)["downloaded"] == 0
    verified = verify_log(folder_reader(folder), genesis=read_genesis(genesis_file))
    assert verified.epoch == 2


def test_a_mirror_ends_before_an_epoch_that_its_checkpoint_does_not_cover(
    tmp_path: Path, genesis_file: Path
) -> None:
    chain, folder = spanning(), tmp_path / "copy"
    shorter = make_copy(chain.entries[:7], chain.genesis, cosigners=FIVE)
    chain.entries = chain.entries[:7]
    lies = {name: data for name, data in shorter.items() if name != "genesis.json"}
    with node_of(chain, **lies) as url:
        tally("audit", "mirror", url, folder, "--genesis", genesis_file)
    assert (folder / "epochs" / "0").exists()
    assert not (folder / "epochs" / "1").exists()
    assert verify_log(folder_reader(folder)).epoch == 1


@pytest.mark.parametrize("wrong", ["epochs/0", "epochs/1"])
def test_a_proof_that_does_not_verify_is_not_believed(
    tmp_path: Path, genesis_file: Path, wrong: str
) -> None:
    chain = spanning()
    proof = chain.proofs[int(wrong[-1])]
    forged = msgspec.structs.replace(proof, validators=chain.genesis.validators)
    with node_of(chain, **{wrong: EPOCH_PROOFS.encode(forged)}) as url:
        answer = tally(
            *("audit", "mirror", url, tmp_path / "copy", "--genesis", genesis_file),
            exit_code=UNVERIFIED,
        )
    assert code_of(answer) == "epoch-invalid"
    assert not (tmp_path / "copy" / "checkpoint").exists()


def test_a_damaged_proof_in_the_folder_is_named(tmp_path: Path, genesis_file: Path) -> None:
    folder = tmp_path / "copy"
    with node_of(spanning()) as url:
        tally("audit", "mirror", url, folder, "--genesis", genesis_file)
        (folder / "epochs" / "1").write_bytes(b"\x80")
        answer = tally("audit", "mirror", url, folder, exit_code=ERROR)
    assert code_of(answer) == "epoch-invalid"
    assert "epochs/1" in answer["error"]["detail"]


# --- receipts ---------------------------------------------------------------------------------


def test_a_receipt_of_a_later_epoch_is_proven_on_and_offline(
    tmp_path: Path, genesis_file: Path
) -> None:
    out, trust = tmp_path / "proof", ("--genesis", genesis_file)
    with node_of(spanning()) as url:
        paths = tally("audit", "receipt", url, 5, "--out", out, *trust)
    check = ("audit", "verify-receipt", paths["receipt"], paths["entry"], *trust)
    assert tally(*check)["valid"] is True
    (out / "epochs" / "1").unlink()
    assert code_of(tally(*check, exit_code=UNVERIFIED)) == "receipt-invalid"


def test_the_epochs_of_a_mirror_serve_receipts(tmp_path: Path, genesis_file: Path) -> None:
    out, copy, trust = tmp_path / "proof", tmp_path / "copy", ("--genesis", genesis_file)
    with node_of(spanning()) as url:
        paths = tally("audit", "receipt", url, 11, "--out", out, *trust)
        tally("audit", "mirror", url, copy, *trust)
    moved = tmp_path / "alone.tlog-proof"
    moved.write_bytes(Path(paths["receipt"]).read_bytes())
    check = ("audit", "verify-receipt", moved, paths["entry"], *trust)
    assert code_of(tally(*check, exit_code=UNVERIFIED)) == "receipt-invalid"
    assert tally(*check, "--epochs", copy)["valid"] is True


def test_validators_of_an_ended_epoch_prove_nothing_any_more(
    tmp_path: Path, genesis_file: Path
) -> None:
    chain = spanning()
    for cosigners in (FIVE, ("east", "north", "south", "west")):
        lie = chain.checkpoint(cosigners)
        with node_of(chain, checkpoint=lie) as url:
            answer = tally(
                *("audit", "receipt", url, 5, "--out", tmp_path, "--genesis", genesis_file),
                exit_code=UNVERIFIED,
            )
        assert code_of(answer) == "receipt-invalid"


def test_an_entry_that_is_not_there(tmp_path: Path, genesis_file: Path) -> None:
    with node_of(spanning()) as url:
        tally(
            *("audit", "receipt", url, 99, "--out", tmp_path, "--genesis", genesis_file),
            exit_code=NOT_FOUND,
        )


# --- evidence ---------------------------------------------------------------------------------


def vote(chain: ChainBuilder, epoch: int, member: str, block: bytes, kind: Kind) -> bytes:
    """A really signed vote; the lists of later epochs are sorted."""
    members = [chain.genesis.validators, *(proof.validators for proof in chain.proofs)][epoch]
    subject = Subject(kind=kind, epoch=epoch, view=VIEW)
    if kind is not Kind.NULLIFY:
        subject = msgspec.structs.replace(subject, height=9, parent_view=3, block_hash=block * 32)
    signature = consensus_secret(member).sign_raw(signed_vote(chain.network, subject))
    signer = [each.member for each in members].index(member)
    return encode_vote(Vote(subject=subject, signer=signer, signature=signature))


def accuse(chain: ChainBuilder, number: int, first: bytes, second: bytes) -> None:
    accuser = chain.validators[0].member
    body = EvidenceEquivocation(first=first, second=second)
    event = make_event(number, member=accuser, secret=consensus_secret(accuser), body=body)
    chain.add([event])


def accused() -> ChainBuilder:
    """Evidence about epochs 0, 1 and 2, all recorded in epoch 2."""
    chain = spanning()
    for number, (epoch, member) in enumerate(((0, "north"), (1, "center"), (2, "b"))):
        pair = [vote(chain, epoch, member, block, Kind.NOTARIZE) for block in (b"x", b"y")]
        accuse(chain, 90 + number, *pair)
    last = [vote(chain, 2, "c", b"x", kind) for kind in (Kind.NULLIFY, Kind.FINALIZE)]
    accuse(chain, 99, *last)
    return chain


def written(chain: ChainBuilder, folder: Path) -> Path:
    for name, data in chain.copy().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_each_double_vote_is_listed_with_its_epoch_and_place(
    tmp_path: Path, genesis_file: Path
) -> None:
    chain = accused()
    folder = written(chain, tmp_path / "copy")
    arguments = ("audit", "equivocation", folder, "--genesis", genesis_file, "--jobs", 1)
    found = tally(*arguments)["evidence"]
    rows = [(row["epoch"], row["member"], row["votes"]) for row in found]
    assert rows == [
        (0, "north", "notarize / notarize"),
        (1, "center", "notarize / notarize"),
        (2, "b", "notarize / notarize"),
        (2, "c", "nullify / finalize"),
    ]
    assert {row["submitted_by"] for row in found} == {OTHERS[0]}
    assert [row["index"] for row in found] == [13, 15, 17, 19]
    shown = CliRunner().invoke(main, [*map(str, arguments), "--lang", "en"])
    assert "center" in shown.stdout
    assert "4 times" in shown.stdout


def test_evidence_of_a_node_is_mirrored_and_verified(genesis_file: Path) -> None:
    with node_of(accused()) as url:
        found = tally("audit", "equivocation", url, "--genesis", genesis_file, "--jobs", 1)
    assert len(found["evidence"]) == 4


def test_a_log_without_double_votes(tmp_path: Path, genesis_file: Path) -> None:
    folder = written(spanning(), tmp_path / "copy")
    arguments = ("audit", "equivocation", folder, "--genesis", genesis_file, "--jobs", 1)
    assert tally(*arguments) == {"evidence": []}


def forge_signature(chain: ChainBuilder) -> tuple[bytes, bytes]:
    first, second = (vote(chain, 2, "b", block, Kind.NOTARIZE) for block in (b"x", b"y"))
    return first, second[:-1] + bytes([second[-1] ^ 1])


def take_legal_pair(chain: ChainBuilder) -> tuple[bytes, bytes]:
    return tuple(vote(chain, 2, "b", b"x", kind) for kind in (Kind.NOTARIZE, Kind.NULLIFY))  # type: ignore[return-value]  # two kinds


def take_two_signers(chain: ChainBuilder) -> tuple[bytes, bytes]:
    return vote(chain, 2, "a", b"x", Kind.NOTARIZE), vote(chain, 2, "b", b"y", Kind.NOTARIZE)


def take_garbage(chain: ChainBuilder) -> tuple[bytes, bytes]:
    return vote(chain, 2, "a", b"x", Kind.NOTARIZE), b"\x00"


@pytest.mark.parametrize("make", [forge_signature, take_legal_pair, take_two_signers, take_garbage])
def test_recorded_evidence_that_proves_nothing_is_named(
    tmp_path: Path, genesis_file: Path, make: Any
) -> None:
    chain = spanning()
    accuse(chain, 90, *make(chain))
    folder = written(chain, tmp_path / "copy")
    arguments = ("audit", "equivocation", folder, "--genesis", genesis_file, "--jobs", 1)
    answer = tally(*arguments, exit_code=UNVERIFIED)
    assert code_of(answer) == "evidence-invalid"
    assert "#13" in answer["error"]["detail"]
