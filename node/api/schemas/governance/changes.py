"""What actions change, value by value, as people read it: before and after."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from contracts.credit.accounts import read_credit, read_formula
from contracts.engine import hash_policy_set
from contracts.exchange.matters import read_deadlines
from contracts.governance.rules import rule_of
from contracts.lookup import (
    find_member,
    find_recipient,
    find_record_schema,
    read_record_schema_version,
    read_sunsets,
)
from contracts.risk.habits import read_risk_rules
from ledger.codec import Codec
from ledger.custody.certificates import hash_certificate
from ledger.custody.encryption import hash_encryption_key
from ledger.governance.keys import GATEWAYS, TERMS, EncryptionKey, Gateway
from ledger.governance.proposals import VOTING_RULES
from ledger.governance.registers import CODE_LISTS
from ledger.registry import (
    DATASETS,
    FREEZES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PARAMETERS,
    POLICY_SETS,
    PURPOSES,
    Member,
    PolicySet,
    Validator,
)
from ledger.state import CREDIT_RULES_KEY, DEADLINE_RULES_KEY, Overlay, StateReader, encryption_key
from node.api.schemas.base import Body, fields_of
from node.api.schemas.nodes import validator_body
from node.api.schemas.values import officer_body

Fields = dict[str, Any]
_Pair = tuple[str, Fields | None, Fields | None]


class StateChangeBody(Body, frozen=True, kw_only=True):
    """One value before and after. `target` is what `/v1/history` knows it by; null: there is none.

    Freezes share one target. `policy-set` says how the number and hash of the whole set move.
    """

    target: str
    kind: Literal["set", "remove"]
    before: Fields | None
    after: Fields | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A state and what would become of it, at a block time."""

    state: StateReader
    overlay: Overlay
    time_ms: int


def change_bodies(state: StateReader, overlay: Overlay, *, time_ms: int) -> list[StateChangeBody]:
    """JSON shapes of what an overlay of the state changes at a block time, in a fixed order."""
    view = _View(state=state, overlay=overlay, time_ms=time_ms)
    return _bodies(pair for key in sorted(overlay.changes) for pair in _READERS[key[:2]](view, key))


def seat_changes(before: Sequence[Validator], after: Sequence[Validator]) -> list[StateChangeBody]:
    """JSON shapes of how one list of validators differs from another."""
    old, new = _seats(before), _seats(after)
    return _bodies(
        (f"validator/{member}", old.get(member), new.get(member))
        for member in sorted(old.keys() | new.keys())
    )


def _bodies(pairs: Iterator[_Pair]) -> list[StateChangeBody]:
    return [
        StateChangeBody(
            target=target, kind="remove" if after is None else "set", before=before, after=after
        )
        for target, before, after in pairs
        if before != after
    ]


def _seats(validators: Sequence[Validator]) -> dict[str, Fields]:
    return {each.member: msgspec.to_builtins(validator_body(each)) for each in validators}


_Reader = Callable[[_View, bytes], Iterator[_Pair]]


def _value(
    kind: str,
    codec: Codec[Any],
    shape: Callable[[Any], Fields] = fields_of,
    *,
    is_hex: bool = False,
) -> _Reader:
    """Reader of values that stand under an id of their own."""

    def read(view: _View, key: bytes) -> Iterator[_Pair]:
        before, after = view.state.get(key), view.overlay.get(key)
        name = key[2:].hex() if is_hex else key[2:].decode()
        yield (
            f"{kind}/{name}" if name else kind,
            None if before is None else shape(codec.decode(before)),
            None if after is None else shape(codec.decode(after)),
        )

    return read


def _officer(officer: Any) -> Fields:
    fields: Fields = msgspec.to_builtins(officer_body(officer))
    return fields


def _deadlines(view: _View, key: bytes) -> Iterator[_Pair]:
    """The rules; what stands of members under the same prefix no action changes."""
    assert key == DEADLINE_RULES_KEY, "incidents are no matter of governance"
    before, after = (fields_of(read_deadlines(each)) for each in (view.state, view.overlay))
    yield "deadlines", before, after


def _rule(view: _View, key: bytes) -> Iterator[_Pair]:
    after = VOTING_RULES.decode(view.overlay.get(key) or b"")
    before = rule_of(view.state, after.action_class)
    yield f"rule/{after.action_class}", fields_of(before), fields_of(after)


def _policies(view: _View, key: bytes) -> Iterator[_Pair]:
    """Contract by contract: the set as a whole is long."""
    before = POLICY_SETS.decode(view.state.get(key) or b"")
    after = POLICY_SETS.decode(view.overlay.get(key) or b"")
    old, new = _contracts(before), _contracts(after)
    for name in sorted(old.keys() | new.keys()):
        yield f"contract/{name}", old.get(name), new.get(name)
    yield "schema", {"schema": before.schema}, {"schema": after.schema}
    yield "policy-set", _set(before), _set(after)


def _contracts(policies: PolicySet) -> dict[str, Fields]:
    return {contract.id: fields_of(contract) for contract in policies.contracts}


def _set(policies: PolicySet) -> Fields:
    return {"version": policies.version, "hash": hash_policy_set(policies).hex()}


def _credit(view: _View, key: bytes) -> Iterator[_Pair]:
    """The rules, or how a member stands; what it is counted from has a route of its own."""
    if key == CREDIT_RULES_KEY:
        before, after = (fields_of(read_formula(each).rules) for each in (view.state, view.overlay))
        yield "credit", before, after
        return
    member = find_member(view.overlay, key[2:].decode("utf-8", "replace"))
    if member is not None:
        yield (
            f"member/{member.id}",
            _standing(view, view.state, member),
            _standing(view, view.overlay, member),
        )


def _risk(view: _View, _key: bytes) -> Iterator[_Pair]:
    before, after = (fields_of(read_risk_rules(each)) for each in (view.state, view.overlay))
    yield "risk", before, after


def _standing(view: _View, state: StateReader, member: Member) -> Fields:
    _, standing = read_credit(state, member, view.time_ms)
    return {"score": standing.score, "grade": standing.grade}


def _recipient(view: _View, key: bytes) -> Iterator[_Pair]:
    """The encryption key of a member; that one before it ends is told by its successor."""
    if not key.startswith(encryption_key(b"")):
        member = key[2:].decode()
        before, after = (find_recipient(each, member) for each in (view.state, view.overlay))
        yield (
            f"encryption/{member}",
            None if before is None else _key_fields(before),
            None if after is None else _key_fields(after),
        )


def _key_fields(held: EncryptionKey) -> Fields:
    """An encryption key by its hash: the key itself is long."""
    key_hash = hash_encryption_key(held.key).hex()
    return {"hash": key_hash, "not_after": held.not_after, "from_height": held.from_height}


def _gateway(gateway: Gateway) -> Fields:
    """A gateway with its certificates by their hashes: they are long."""
    hashes = [hash_certificate(each).hex() for each in gateway.certificates]
    return {"address": gateway.address, "certificates": hashes, "height": gateway.height}


def _record_schema(view: _View, key: bytes) -> Iterator[_Pair]:
    """The newest version before and after; under the keys of versions stand the texts."""
    dataset = key[2:].decode()
    before, after = (
        find_record_schema(each, dataset, read_record_schema_version(each, dataset))
        for each in (view.state, view.overlay)
    )
    yield (
        f"record-schema/{dataset}",
        None if before is None else fields_of(before),
        None if after is None else fields_of(after),
    )


def _sunsets(view: _View, _key: bytes) -> Iterator[_Pair]:
    old, new = (
        {each.target: {"date": each.date} for each in read_sunsets(of)}
        for of in (view.state, view.overlay)
    )
    for target in sorted(old.keys() | new.keys()):
        yield f"sunset/{target}", old.get(target), new.get(target)


def _shown_elsewhere(_view: _View, _key: bytes) -> Iterator[_Pair]:
    yield from ()


def _freezes(view: _View, key: bytes) -> Iterator[_Pair]:
    before, after = (
        [] if value is None else [fields_of(each) for each in FREEZES.decode(value)]
        for value in (view.state.get(key), view.overlay.get(key))
    )
    yield from (("freezes", each, None) for each in before if each not in after)
    yield from (("freezes", None, each) for each in after if each not in before)


_READERS: dict[bytes, _Reader] = {
    b"m/": _value("member", MEMBERS),
    b"o/": _value("officer", OFFICERS, _officer, is_hex=True),
    b"d/": _value("dataset", DATASETS),
    b"l/": _value("basis", LEGAL_BASES),
    b"u/": _value("purpose", PURPOSES),
    b"n/": _value("parameters", PARAMETERS),
    b"t/": _rule,
    b"p/": _policies,
    b"f/": _freezes,
    b"k/": _credit,
    b"K/": _risk,
    b"J/": _deadlines,
    b"j/": _value("term", TERMS, is_hex=True),
    b"z/": _recipient,
    b"G/": _value("gateway", GATEWAYS, _gateway),
    b"L/": _value("code-list", CODE_LISTS),
    b"N/": _shown_elsewhere,
    b"R/": _shown_elsewhere,
    b"S/": _sunsets,
    b"V/": _record_schema,
}
