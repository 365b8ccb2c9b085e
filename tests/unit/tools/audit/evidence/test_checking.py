"""Nothing in a bundle can be changed: neither a byte of any file, nor a file with its manifest."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ledger.genesis import GENESES
from ledger.quorum.lists import hash_validator_list
from ledger.registry import POLICY_SETS
from ledger.tlog.note import SignedNote
from tests.unit.tools.audit.evidence.case import (
    Case,
    bundle_of,
    gathered,
    make_case,
    repacked,
    unpacked,
    unzipped,
)
from tools.audit.evidence.bundle import Evidence, folder_name, make_files, pack
from tools.audit.evidence.checking import compare_with_log, verify_bundle
from tools.exits import InvalidAnswer, InvalidInput

Change = Callable[[Case, dict[str, bytes]], None]


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def check(case: Case, data: bytes) -> Evidence:
    return verify_bundle(data, bytes.fromhex(case.trusted))


def refused(case: Case, data: bytes) -> InvalidAnswer:
    with pytest.raises(InvalidAnswer) as caught:
        check(case, data)
    assert caught.value.code == "bundle-invalid"
    return caught.value


def test_a_true_bundle_holds(case: Case) -> None:
    assert check(case, bundle_of(case)).exchange == case.exchange


def test_a_flipped_byte_of_any_file_is_found(case: Case) -> None:
    content = unpacked(case)
    for name, data in content.items():
        for at in {0, len(data) // 2, len(data) - 1}:
            flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            changed = pack({**content, name: flipped}, folder_name(case.exchange))
            refused(case, changed)


def test_a_flipped_byte_of_any_file_is_found_though_totals_and_manifests_agree(case: Case) -> None:
    content = unpacked(case)
    for name, data in content.items():
        if name.endswith("manifest-sha256.txt"):
            continue  # they agree by definition
        at = data.index(b"exchange") if name == "data/evidence.json" else len(data) // 2
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        changed = repacked(case, {**content, name: flipped})
        if name.endswith(".asked.json"):
            # What no decision depends on is proven by a replay only.
            with pytest.raises(InvalidAnswer):
                compare_with_log(check(case, changed), gathered(case))
        else:
            refused(case, changed)


def test_a_flipped_byte_of_the_zip_file_between_its_files_is_found(case: Case) -> None:
    data = bundle_of(case)
    # The directory at the end: names, sizes, times, rights, flags of encryption.
    start = data.index(b"PK\x01\x02")
    for place, at in enumerate(range(start, len(data), 149)):
        refused(case, data[:at] + bytes([data[at] ^ 1 << place % 8]) + data[at + 1 :])
    for at in range(start, start + 46):
        refused(case, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    refused(case, data + b"\n")
    refused(case, data[:-1])
    refused(case, b"")


def test_a_missing_file_is_found(case: Case) -> None:
    content = unpacked(case)
    for name in content:
        less = {other: data for other, data in content.items() if other != name}
        refused(case, pack(less, folder_name(case.exchange)))
    for name in [name for name in content if not name.startswith("data/contracts/")]:
        less = {other: data for other, data in content.items() if other != name}
        if not name.endswith("manifest-sha256.txt"):
            refused(case, repacked(case, less))


def add_file(case: Case, content: dict[str, bytes]) -> None:
    content["data/note.txt"] = b"the taxpayer confessed"


def change_page(case: Case, content: dict[str, bytes]) -> None:
    content["index.html"] = content["index.html"].replace(b"Center", b"Centre")


def replace_program(case: Case, content: dict[str, bytes]) -> None:
    content["verify.py"] = b"print('verified')\n"


def change_contract_text(case: Case, content: dict[str, bytes]) -> None:
    name = next(name for name in content if name.endswith("necessity.cedar"))
    content[name] = content[name].replace(b"forbid", b"permit")


def change_contracts_wholly(case: Case, content: dict[str, bytes]) -> None:
    name = next(name for name in content if name.endswith("policy-set.msgpack"))
    policy_set = POLICY_SETS.decode(content[name])
    content[name] = POLICY_SETS.encode(msgspec.structs.replace(policy_set, version=9))


def change_fact(case: Case, content: dict[str, bytes], **facts: Any) -> None:
    name = next(name for name in content if name.endswith(".asked.json"))
    asked = json.loads(content[name])
    asked["facts"].update(facts)
    text = msgspec.json.format(msgspec.json.encode(asked), indent=2)
    content[name] = text + b"\n"


def change_decisive_fact(case: Case, content: dict[str, bytes]) -> None:
    change_fact(case, content, secretFields=0, personalFields=0)


def change_purpose(case: Case, content: dict[str, bytes]) -> None:
    change_fact(case, content, purpose="criminal")


def change_time(case: Case, content: dict[str, bytes]) -> None:
    change_fact(case, content, timeMs=1)


def change_harmless_fact(case: Case, content: dict[str, bytes]) -> None:
    """The decision stays; but what `--log` replays and what the explanation says does not."""
    change_fact(case, content, balance=1)


def change_asked(case: Case, content: dict[str, bytes], change: Callable[[Any], None]) -> None:
    for name in [name for name in content if name.endswith(".asked.json")][-1:]:
        asked = json.loads(content[name])
        change(asked)
        content[name] = msgspec.json.format(msgspec.json.encode(asked), indent=2) + b"\n"


def ask_something_else(case: Case, content: dict[str, bytes]) -> None:
    change_asked(case, content, lambda asked: asked["act"].update(action="fly"))


def ask_without_facts(case: Case, content: dict[str, bytes]) -> None:
    change_asked(case, content, lambda asked: asked.update(facts={"timeMs": time_of(case)}))


def ask_nonsense(case: Case, content: dict[str, bytes]) -> None:
    change_asked(case, content, lambda asked: asked["facts"].update(purpose={"a": [None]}))


def time_of(case: Case) -> int:
    """Block time of the last event that the contracts were asked about."""
    evidence = gathered(case)
    return next(
        told.time_ms for told in evidence.story().events if told.index == max(evidence.asked)
    )


def leave_out_cosignatures(case: Case, content: dict[str, bytes]) -> None:
    note = SignedNote.parse(content["data/checkpoint"])
    less = SignedNote(text=note.text, signatures=note.signatures[:3]).format()
    for name, data in content.items():
        content[name] = data.replace(content["data/checkpoint"], less)
    content["data/checkpoint"] = less


def leave_out_epochs(case: Case, content: dict[str, bytes]) -> None:
    del content["data/epochs/0"]


def leave_out(case: Case, content: dict[str, bytes], index: int) -> None:
    del content[f"data/entries/{index}.entry"], content[f"data/entries/{index}.tlog-proof"]
    contents = json.loads(content["data/evidence.json"])
    contents["entries"].remove(index)
    content["data/evidence.json"] = msgspec.json.format(msgspec.json.encode(contents)) + b"\n"


def indexes(case: Case, kind: str) -> list[int]:
    story = gathered(case).story()
    rows = (*story.events, *story.governance)
    return sorted(told.index for told in rows if told.event.kind == kind)


def leave_out_opening(case: Case, content: dict[str, bytes]) -> None:
    leave_out(case, content, indexes(case, "share.requested")[0])


def leave_out_header(case: Case, content: dict[str, bytes]) -> None:
    leave_out(case, content, indexes(case, "share.received")[0] - 1)


def leave_out_admission(case: Case, content: dict[str, bytes]) -> None:
    leave_out(case, content, indexes(case, "governance.proposed")[0])


def leave_out_ballots(case: Case, content: dict[str, bytes]) -> None:
    for index in indexes(case, "governance.balloted")[:2]:
        leave_out(case, content, index)


def leave_out_acknowledgement(case: Case, content: dict[str, bytes]) -> None:
    leave_out(case, content, indexes(case, "governance.acknowledged")[0])


def add_other_event(case: Case, content: dict[str, bytes]) -> None:
    """An entry that is in the log, with its receipt, but of another exchange."""
    chain = case.chain
    index = next(at for at, entry in enumerate(chain.entries) if case.other.data in entry)
    own = indexes(case, "share.requested")[0]
    receipt = content[f"data/entries/{own}.tlog-proof"]
    content[f"data/entries/{index}.entry"] = chain.entries[index]
    content[f"data/entries/{index}.tlog-proof"] = receipt
    contents = json.loads(content["data/evidence.json"])
    contents["entries"] = sorted([*contents["entries"], index])
    content["data/evidence.json"] = msgspec.json.format(msgspec.json.encode(contents)) + b"\n"


def change_genesis(case: Case, content: dict[str, bytes]) -> None:
    genesis = GENESES.decode(content["data/genesis.msgpack"])
    other = msgspec.structs.replace(genesis, name="other")
    content["data/genesis.msgpack"] = GENESES.encode(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add_file, "note.txt"),
        (change_page, "index.html"),
        (replace_program, "verify.py"),
        (change_contract_text, "necessity.cedar"),
        (change_contracts_wholly, "contracts and decisions do not match"),
        (change_decisive_fact, "expected"),
        (change_purpose, "purpose"),
        (change_time, "timeMs"),
        (ask_something_else, "decisions/"),
        (ask_without_facts, "decisions/"),
        (ask_nonsense, "decisions/"),
        (change_harmless_fact, "decisions/"),
        (leave_out_cosignatures, "cosigned"),
        (leave_out_epochs, "of epoch 1, which is not proven"),
        (leave_out_opening, "is missing"),
        (leave_out_header, "the header of its block is missing"),
        (leave_out_admission, "no officer of center"),
        (leave_out_ballots, "no officer of center"),
        (leave_out_acknowledgement, "center is applied"),
        (add_other_event, ""),
        (change_genesis, "genesis: network"),
    ],
)
def test_a_forged_bundle_with_right_manifests_is_found(
    case: Case, change: Change, said: str
) -> None:
    content = unpacked(case)
    change(case, content)
    assert said in refused(case, repacked(case, content)).detail


def test_a_bundle_of_another_network_is_refused(case: Case) -> None:
    with pytest.raises(InvalidAnswer, match="genesis: network"):
        verify_bundle(bundle_of(case), bytes(32))


def with_contents(case: Case, **changed: Any) -> bytes:
    content = unpacked(case)
    contents = json.loads(content["data/evidence.json"]) | changed
    text = msgspec.json.format(msgspec.json.encode(contents), indent=2) + b"\n"
    return repacked(case, {**content, "data/evidence.json": text})


def test_a_format_of_another_time_cannot_be_told(case: Case) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(case, with_contents(case, format=2))
    assert caught.value.code == "bundle-version"


def test_what_another_release_worded_otherwise_cannot_be_told(case: Case) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(case, with_contents(case, agent="tallystick 9.9.9"))
    assert caught.value.code == "bundle-release"
    assert "index.html" not in caught.value.detail, "it does not name its maker"
    assert "README.txt" in caught.value.detail


def test_an_epoch_that_ends_after_the_tree_does_not_belong(case: Case) -> None:
    """Its proof is true, but proves nothing here: of one evidence there is one bundle."""
    later = Case().chain
    later.add(next_validators=hash_validator_list(later.validators))
    later.enter(later.validators)
    found = gathered(case)
    assert tuple(later.proofs[:-1]) == found.proofs
    more = dataclasses.replace(found, proofs=tuple(later.proofs))
    with pytest.raises(InvalidAnswer, match="an epoch that ends after the tree"):
        check(case, pack(make_files(more), folder_name(case.exchange)))


def test_a_damaged_file_is_named_by_the_manifests_whoever_made_it(case: Case) -> None:
    content = unzipped(with_contents(case, agent="tallystick 9.9.9"))
    content["index.html"] += b" "
    with pytest.raises(InvalidAnswer, match=r"^tagmanifest-sha256.txt: the files"):
        check(case, pack(content, folder_name(case.exchange)))


def test_a_compressed_or_doubled_or_misplaced_file_is_refused(case: Case) -> None:

    content = unpacked(case)

    def zipped(folder: str, kind: int, *more: tuple[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            for name, data in (*sorted(content.items()), *more):
                archive.writestr(f"{folder}/{name}", data)
        return buffer.getvalue()

    folder = folder_name(case.exchange)
    assert "compressed" in refused(case, zipped(folder, zipfile.ZIP_DEFLATED)).detail
    assert "zip file" in refused(case, zipped(folder, zipfile.ZIP_STORED)).detail
    assert "zip file" in refused(case, zipped("other", zipfile.ZIP_STORED)).detail
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = zipped(folder, zipfile.ZIP_STORED, ("bagit.txt", b""))
    assert "twice" in refused(case, doubled).detail


def test_a_replay_finds_what_is_left_out_and_a_fact_that_changes_nothing(case: Case) -> None:
    logged = gathered(case)
    compare_with_log(check(case, bundle_of(case)), logged)
    last = max(logged.asked)
    asked = logged.asked[last]
    other = msgspec.structs.replace(asked, facts={**asked.facts, "balance": 7})
    forged = dataclasses.replace(logged, asked={**logged.asked, last: other})
    data = pack(make_files(forged), folder_name(case.exchange))
    with pytest.raises(InvalidAnswer, match="not those of a replay"):
        compare_with_log(check(case, data), logged)
    less = {i: p for i, p in logged.entries.items() if i != indexes(case, "share.received")[0]}
    shorter = dataclasses.replace(logged, entries=less)
    data = pack(make_files(shorter), folder_name(case.exchange))
    with pytest.raises(InvalidAnswer, match="left out"):
        compare_with_log(check(case, data), logged)
