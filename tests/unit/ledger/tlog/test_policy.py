"""Policies: the example in both directions, nested groups, strictness."""

import itertools

import pytest

from ledger.errors import InvalidCheckpoint, InvalidEncoding, InvalidKey, InvalidSignature
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, Signature, SignedNote, SigningKey
from ledger.tlog.policy import GROUPS_MAX, LOGS_MAX, POLICY_BYTES_MAX, Group, Log, Policy
from tests.unit.ledger.tlog.samples import (
    EXAMPLE,
    build_note,
    build_policy,
    example_keys,
    flip_bit,
)

LOG_KEY, COSIGNERS = example_keys()
LOG = f"log {LOG_KEY.verifier.format()}\n"
WITNESSES = [f"witness V{at} {key.verifier.format()}\n" for at, key in enumerate(COSIGNERS, 1)]
ALL = LOG + "".join(WITNESSES)


def parse(text: str) -> Policy:
    return Policy.parse(text.encode())


def test_example_policy_is_rebuilt_and_read() -> None:
    data = (EXAMPLE / "policy.txt").read_bytes()
    assert build_policy().format() == data
    assert Policy.parse(data) == build_policy()


def test_example_checkpoint_meets_its_policy() -> None:
    note = SignedNote.parse((EXAMPLE / "log" / "checkpoint").read_bytes())
    assert build_policy(threshold=4).verify(note) == Checkpoint.parse(note.text)


def test_quorum_of_every_subset() -> None:
    policy = build_policy()
    for count in range(5):
        for subset in itertools.combinations(range(4), count):
            note = build_note(cosigned_by=subset)
            if count >= 3:
                assert policy.verify(note).size == 300
            else:
                with pytest.raises(InvalidCheckpoint):
                    policy.verify(note)


def test_nested_groups() -> None:
    policy = parse(ALL + "group X 2 V1 V2 V3\ngroup Y any V4\ngroup both all X Y\nquorum both\n")
    for names in itertools.product((False, True), repeat=4):
        present = {f"V{at}" for at, is_in in enumerate(names, 1) if is_in}
        expected = sum(names[:3]) >= 2 and names[3]
        assert policy.is_quorum(present) is expected


def test_any_all_and_single_witness() -> None:
    assert parse(ALL + "group g any V1 V2\nquorum g\n").groups[0].threshold == 1
    assert parse(ALL + "group g all V1 V2\nquorum g\n").groups[0].threshold == 2
    assert parse(ALL + "quorum V2\n").is_quorum({"V2"})
    assert not parse(ALL + "quorum V2\n").is_quorum({"V1", "V3", "V4"})


def test_quorum_none_still_needs_the_log() -> None:
    policy = parse(LOG + "quorum none\n")
    policy.verify(build_note(cosigned_by=()))
    note = build_note()
    unsigned = SignedNote(text=note.text, signatures=note.signatures[1:])
    with pytest.raises(InvalidCheckpoint):
        policy.verify(unsigned)
    with pytest.raises(InvalidCheckpoint):
        parse("quorum none\n").verify(note)


def test_another_origin_is_refused() -> None:
    with pytest.raises(InvalidCheckpoint):
        build_policy().verify(build_note(origin="other.example"))


def test_bad_lines_are_refused() -> None:
    note = build_note()
    for at, line in enumerate(note.signatures):
        bad = Signature(name=line.name, key_hash=line.key_hash, raw=flip_bit(line.raw, 99))
        lines = [*note.signatures[:at], bad, *note.signatures[at + 1 :]]
        with pytest.raises(InvalidSignature):
            build_policy().verify(SignedNote(text=note.text, signatures=tuple(lines)))


def test_layout_is_free_where_the_specification_says_so() -> None:
    spaced = (
        f"# comment \xe9\n\n \t# more\n{WITNESSES[0]} \t {LOG}group\tg  any V1 \n  quorum \t g\n"
    )
    tidy = LOG + WITNESSES[0] + "group g 1 V1\nquorum g\n"
    assert parse(spaced) == parse(tidy)
    assert parse(spaced).format() == tidy.encode()


def test_names_are_opaque_bytes() -> None:
    data = ALL.encode().replace(b"V1", b"\xff\xfe") + b"group K\xe2 2 V2 \xff\xfe\nquorum K\xe2\n"
    policy = Policy.parse(data)
    assert Policy.parse(policy.format()) == policy
    assert policy.format() == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        ALL,
        ALL + "quorum none",
        ALL + "quorum none\nquorum none\n",
        ALL + "quorum\n",
        ALL + "quorum V1 V2\n",
        ALL + "quorum V9\n",
        "quorum V1\n" + ALL,
        ALL + "quorum none\r\n",
        ALL + "quorum none\x7f\n",
        ALL + "quorum\u00a0none\n",
        ALL + "Quorum none\n",
        ALL + "include x\nquorum none\n",
        ALL + "group g 0 V1\nquorum g\n",
        ALL + "group g 2 V1\nquorum g\n",
        ALL + "group g 01 V1\nquorum g\n",
        ALL + "group g +1 V1\nquorum g\n",
        ALL + "group g most V1\nquorum g\n",
        ALL + "group g any\nquorum none\n",
        ALL + "group g any V1 V1\nquorum g\n",
        ALL + "group g any V1\ngroup h any V1\nquorum g\n",
        ALL + "group g any g\nquorum g\n",
        ALL + "group g any none\nquorum g\n",
        ALL + "group none any V1\nquorum none\n",
        ALL + "group V1 any V2\nquorum V1\n",
        ALL + "group g any V1\ngroup g any V2\nquorum g\n",
        LOG + "group g any V1\n" + WITNESSES[0] + "quorum g\n",
        ALL + WITNESSES[0] + "quorum none\n",
        ALL + WITNESSES[0].replace("V1", "V5") + "quorum none\n",
        LOG + LOG + "quorum none\n",
        LOG.replace("log ", "witness V1 ") + "quorum V1\n",
        WITNESSES[0].replace("witness V1", "log") + "quorum none\n",
        LOG[:-1] + " https://a https://b\nquorum none\n",
        "log\nquorum none\n",
        "witness V1\nquorum none\n",
        "#" * POLICY_BYTES_MAX + "\nquorum none\n",
    ],
)
def test_policies_refused(text: str) -> None:
    with pytest.raises(InvalidEncoding):
        parse(text)


def test_bad_keys_are_refused() -> None:
    with pytest.raises(InvalidKey):
        parse(LOG.replace("22f570aa", "22f570ab") + "quorum none\n")


def test_one_key_under_two_names_is_refused() -> None:
    twin = SigningKey(name="twin", kind=COSIGNATURE_ED25519, seed=COSIGNERS[0].seed)
    with pytest.raises(InvalidEncoding):
        parse(ALL + f"witness T {twin.verifier.format()}\nquorum T\n")


def test_counts_are_bounded() -> None:
    logs = tuple(
        Log(key=SigningKey(name="l", kind=ED25519, seed=bytes([at]) * 32).verifier)
        for at in range(LOGS_MAX + 1)
    )
    Policy(logs=logs[1:], witnesses=(), groups=(), quorum="none")
    with pytest.raises(InvalidEncoding):
        Policy(logs=logs, witnesses=(), groups=(), quorum="none")
    chain = [Group(name="g0", threshold=1, members=("V1",))]
    chain += [
        Group(name=f"g{at}", threshold=1, members=(f"g{at - 1}",))
        for at in range(1, GROUPS_MAX + 1)
    ]
    witnesses = build_policy().witnesses
    deep = Policy(logs=(), witnesses=witnesses, groups=tuple(chain[:-1]), quorum="g63")
    assert deep.is_quorum({"V1"})
    with pytest.raises(InvalidEncoding):
        Policy(logs=(), witnesses=witnesses, groups=tuple(chain), quorum="g63")


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "\ud800"])
def test_names_refused(name: str) -> None:
    group = Group(name=name, threshold=1, members=("V1",))
    with pytest.raises(InvalidEncoding):
        Policy(logs=(), witnesses=build_policy().witnesses, groups=(group,), quorum="none")
