"""One genesis of a source and founder files: doubles, what was not agreed, what was changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.errors import InvalidGenesis
from ledger.genesis import Genesis, verify_genesis
from ledger.keys import SecretKey
from ledger.quorum.founding import derive_log_key
from tests.unit.tools.found.builders import (
    MEMBERS,
    NOW,
    files,
    founder,
    founding_member,
    genesis,
    node,
    officers,
    source,
)
from tools.exits import InvalidInput
from tools.found.assemble import NamedFile, assemble, find_changes, read_policies
from tools.found.founder import FounderFile
from tools.founding import NodeSecrets, Source, SourceMember, new_node
from tools.localnet import shipped_policy_set

FIRST, *_, LAST = MEMBERS
NEW = "cn-3702-tax"


def refused(found: list[NamedFile], **of_source: Any) -> InvalidInput:
    changed = msgspec.structs.replace(source(), **of_source)
    with pytest.raises(InvalidInput) as caught:
        assemble(changed, found, policy_set=shipped_policy_set(), now=NOW)
    return caught.value


def listed(member: str, **lies: Any) -> SourceMember:
    said = founding_member(member)
    fields: dict[str, Any] = {
        "id": member,
        "name_zh": said.name_zh,
        "name_en": said.name_en,
        "region": said.region,
        "kind": said.kind,
        "credit": 700,
        "validator": True,
        "officers": ("admin", "approver", "provider", "requester"),
        **lies,
    }
    return SourceMember(**fields)


def test_four_files_make_a_genesis() -> None:
    found = genesis()
    verify_genesis(found)
    assert [each.member for each in found.validators] == list(MEMBERS)
    assert {each.credit for each in found.members} == {850}
    assert len(found.officers) == 16
    assert found.log_key == derive_log_key(found).public
    for member in MEMBERS:
        assert find_changes(found, founder(member)) == []


def test_the_order_of_files_changes_nothing() -> None:
    turned = assemble(source(), files()[::-1], policy_set=shipped_policy_set(), now=NOW)
    assert turned == genesis()


def test_a_source_that_lists_the_agencies_says_order_and_credit() -> None:
    waiting = listed("cn-aaa", validator=False, officers=())
    members = (*(listed(member) for member in reversed(MEMBERS)), waiting)
    agreed = msgspec.structs.replace(source(), members=members)
    found = assemble(agreed, files(), policy_set=shipped_policy_set(), now=NOW)
    assert [each.member for each in found.validators] == list(reversed(MEMBERS))
    assert [each.id for each in found.members] == ["cn-3100-tax", *MEMBERS[1:], "cn-aaa"]
    assert {each.credit for each in found.members} == {700}


def other(**lies: Any) -> FounderFile:
    """A fifth founder that has something of the first."""
    return founder(NEW, **lies)


def stolen(**parts: Any) -> NodeSecrets:
    secrets: NodeSecrets = node(NEW)
    fields = {name: getattr(secrets, name) for name in secrets.__slots__}
    return NodeSecrets(**{**fields, **parts})


DOUBLES: list[tuple[Callable[[], FounderFile], str]] = [
    (lambda: founder(FIRST), f"member {FIRST}"),
    (lambda: founder(FIRST, node=None, address=""), f"member {FIRST}"),
    (lambda: other(officers={**officers(NEW), "approver": officers(FIRST)["admin"]}), "(approver)"),
    (lambda: other(officers={**officers(NEW), "approver": node(FIRST).consensus}), "(approver)"),
    (lambda: other(officers={**officers(NEW), "provider": node(NEW).cosigning}), "(cosigning)"),
    (lambda: other(node=stolen(consensus=node(FIRST).consensus)), "(consensus)"),
    (lambda: other(node=stolen(cosigning=node(FIRST).cosigning)), "(cosigning)"),
    (lambda: other(node=stolen(cosigning=node(NEW).consensus)), "(cosigning)"),
    (
        lambda: other(
            node=stolen(tls_certificate_pem=node(FIRST).tls_certificate_pem),
            address=f"node.{FIRST}.example:7102",
        ),
        "TLS certificate",
    ),
]


@pytest.mark.parametrize(("second", "said"), DOUBLES)
def test_nothing_stands_in_two_places(second: Callable[[], FounderFile], said: str) -> None:
    error = refused([*files(), NamedFile("second.json", second())])
    assert error.code == "founder-double"
    assert error.detail.startswith("second.json: ")
    assert said in error.detail
    assert ".json too" in error.detail


def test_two_nodes_at_one_address() -> None:
    there = new_node(NEW, NOW, host=f"node.{FIRST}.example")
    error = refused(files(other(node=there, address=f"node.{FIRST}.example:7101")))
    assert error.code == "founder-double"
    assert f"address node.{FIRST}.example:7101" in error.detail


def test_at_least_four_nodes() -> None:
    three = files(founder(LAST, node=None, address=""), without=LAST)
    error = refused(three)
    assert (error.code, error.detail) == ("founders-too-few", "3 < 4")


def test_files_for_another_network() -> None:
    error = refused(files(), origin="another.example/log")
    assert error.code == "founder-other-network"
    assert error.detail == f"{FIRST}.json: exchange.example/log, not another.example/log"


def test_who_was_not_agreed_upon_stays_out() -> None:
    members = tuple(listed(member) for member in MEMBERS)
    assert refused(files(other()), members=members).code == "founder-unexpected"
    error = refused(files(without=LAST), members=members)
    assert (error.code, error.detail) == ("founder-missing", LAST)
    for lie, said in (
        ({"name_zh": "税务局"}, "name_zh: "),
        ({"name_en": "Bureau"}, "name_en: "),
        ({"region": "330200"}, "region: 330100, not 330200"),
        ({"kind": "foreign"}, "kind: tax, not foreign"),
        ({"validator": False}, "validator: True, not False"),
        ({"officers": ("admin",)}, "officers: admin, approver"),
    ):
        error = refused(files(), members=(*members[:-1], listed(LAST, **lie)))
        assert error.code == "founder-not-agreed"
        assert error.detail.startswith(f"{LAST}.json: {said}")


def test_faults_of_the_source_are_those_of_the_genesis() -> None:
    broken: Source = msgspec.structs.replace(source(), purposes=())
    with pytest.raises(InvalidGenesis, match="purpose assessment is unknown"):
        assemble(broken, files(), policy_set=shipped_policy_set(), now=NOW)


def change(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


def change_first(found: Genesis, name: str, **changes: Any) -> Genesis:
    first, *rest = getattr(found, name)
    return change(found, **{name: (change(first, **changes), *rest)})


def change_officer(found: Genesis, **changes: Any) -> Genesis:
    """Change the admin of the first member."""
    admin = officers(FIRST)["admin"].public
    listed = (change(each, **changes) if each.key == admin else each for each in found.officers)
    return change(found, officers=tuple(sorted(listed, key=lambda each: each.key)))


CHANGES: list[tuple[Callable[[Genesis], Genesis], str]] = [
    (lambda g: change_first(g, "members", name_zh="别"), "name_zh: 别, not 税务局 cn-3100-tax"),
    (lambda g: change_first(g, "members", region="110000"), "region: 110000, not 330100"),
    (lambda g: change_first(g, "members", kind="auditor"), "kind: auditor, not tax"),
    (lambda g: change_first(g, "members", status="suspended"), "status: suspended, not active"),
    (lambda g: change_first(g, "validators", consensus_key=bytes(33)), "validators: "),
    (lambda g: change_first(g, "validators", tls_certificate=b""), "validators: "),
    (lambda g: change(g, validators=g.validators[1:]), "validators: "),
    (lambda g: change(g, members=g.members[1:]), f"members: {FIRST} is missing"),
    (lambda g: change_officer(g, roles=("requester",)), "has other roles, or is revoked"),
    (lambda g: change_officer(g, status="revoked"), "has other roles, or is revoked"),
    (lambda g: change_officer(g, member=LAST), "is missing"),
    (lambda g: change_officer(g, key=SecretKey(b"x" * 32).public), "is not ours"),
    (lambda g: change(g, origin="another.example/log"), "origin: another.example/log"),
]


@pytest.mark.parametrize(("wrong", "said"), CHANGES)
def test_a_founder_sees_what_was_changed(wrong: Callable[[Genesis], Genesis], said: str) -> None:
    found = wrong(genesis())
    found = change(found, log_key=derive_log_key(found).public)
    assert said in "\n".join(find_changes(found, founder(FIRST)))


def test_a_log_key_that_somebody_chose() -> None:
    found = change(genesis(), log_key=SecretKey(b"x" * 32).public)
    (fault,) = find_changes(found, founder(FIRST))
    assert fault.startswith("log_key: ")


def test_contracts_of_a_folder(tmp_path: Path) -> None:
    shipped = shipped_policy_set()
    for contract in shipped.contracts:
        (tmp_path / f"{contract.id}.cedar").write_text(contract.text)
    assert read_policies(tmp_path) == shipped
    (tmp_path / "credit.cedar").write_text("permit(principal")
    with pytest.raises(InvalidInput) as caught:
        read_policies(tmp_path)
    assert caught.value.code == "contracts-invalid"
    # It parses and validates, and could fail on a request: no vote would let it in either.
    risky = '@id("credit") permit (principal, action, resource)'
    (tmp_path / "credit.cedar").write_text(risky + "when { context.timeMs * context.timeMs > 0 };")
    with pytest.raises(InvalidInput) as caught:
        read_policies(tmp_path)
    assert caught.value.detail.startswith("credit: policy-overflow")
    (tmp_path / "credit.cedar").write_bytes(b"\xff")
    with pytest.raises(InvalidInput) as caught:
        read_policies(tmp_path)
    assert "credit.cedar: 'utf-8' codec" in caught.value.detail
