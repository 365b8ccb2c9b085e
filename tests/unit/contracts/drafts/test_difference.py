"""Two sets side by side: each policy that differs as a unified diff."""

import msgspec

from contracts.drafts.difference import compare_sets, policies_of
from contracts.engine import PolicyEngine, hash_policy_set
from contracts.shipped import load_shipped
from ledger.registry import Contract
from tests.unit.contracts.drafts.pasts import changed_set


def test_a_set_does_not_differ_from_itself() -> None:
    compared = compare_sets(load_shipped(), load_shipped())
    assert (compared.policies, compared.schema, compared.comments) == ((), None, False)
    assert compared.hashes[0] == compared.hashes[1] == hash_policy_set(load_shipped()).hex()


def test_added_removed_and_changed_policies() -> None:
    changed = changed_set("necessity", "> 200", "> 20")
    more = Contract(id="zz", text='@id("zz") forbid (principal, action, resource);')
    contracts = (*changed.contracts[1:], more)
    new = msgspec.structs.replace(changed, contracts=contracts, version=2, schema="// x")
    compared = compare_sets(load_shipped(), new)
    how = [(change.id, change.how) for change in compared.policies]
    assert how == [
        ("automatic-exchange", "removed"), ("necessity.subjects", "changed"), ("zz", "added")
    ]  # fmt: skip
    lines = compared.policies[1].lines
    assert "-when { context.subjects > 200 }" in lines
    assert "+when { context.subjects > 20 }" in lines
    assert all(line[0] in "@+" for line in compared.policies[2].lines)
    assert compared.schema is not None
    assert compared.schema.lines[-1] == "+// x"
    assert compared.versions == (1, 2)


def test_comments_alone_are_told_from_policies() -> None:
    compared = compare_sets(load_shipped(), changed_set("freeze", "// Emergency", "// Now"))
    assert (compared.policies, compared.comments) == ((), True)


def test_every_policy_has_its_text() -> None:
    texts = policies_of(load_shipped())
    assert texts.keys() == PolicyEngine(load_shipped()).infos.keys()
    assert texts["freeze"].startswith('@id("freeze")')
