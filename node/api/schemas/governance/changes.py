"""What actions change, value by value, as people read it: before and after."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from contracts.engine import hash_policy_set
from contracts.governance.rules import rule_of
from ledger.codec import Codec
from ledger.governance.proposals import VOTING_RULES
from ledger.registry import (
    DATASETS,
    FREEZES,
    LEGAL_BASES,
    MEMBERS,
    OFFICERS,
    PARAMETERS,
    POLICY_SETS,
    PURPOSES,
    PolicySet,
    Validator,
)
from ledger.state import Overlay, StateReader
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


def change_bodies(state: StateReader, overlay: Overlay) -> list[StateChangeBody]:
    """JSON shapes of what an overlay of the state changes, in a fixed order."""
    return _bodies(
        pair for key in sorted(overlay.changes) for pair in _READERS[key[:2]](state, overlay, key)
    )


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


_Reader = Callable[[StateReader, StateReader, bytes], Iterator[_Pair]]


def _value(
    kind: str,
    codec: Codec[Any],
    shape: Callable[[Any], Fields] = fields_of,
    *,
    is_hex: bool = False,
) -> _Reader:
    """Reader of values that stand under an id of their own."""

    def read(state: StateReader, overlay: StateReader, key: bytes) -> Iterator[_Pair]:
        before, after = state.get(key), overlay.get(key)
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


def _rule(state: StateReader, overlay: StateReader, key: bytes) -> Iterator[_Pair]:
    after = VOTING_RULES.decode(overlay.get(key) or b"")
    before = rule_of(state, after.action_class)
    yield f"rule/{after.action_class}", fields_of(before), fields_of(after)


def _policies(state: StateReader, overlay: StateReader, key: bytes) -> Iterator[_Pair]:
    """Contract by contract: the set as a whole is long."""
    before = POLICY_SETS.decode(state.get(key) or b"")
    after = POLICY_SETS.decode(overlay.get(key) or b"")
    old, new = _contracts(before), _contracts(after)
    for name in sorted(old.keys() | new.keys()):
        yield f"contract/{name}", old.get(name), new.get(name)
    yield "schema", {"schema": before.schema}, {"schema": after.schema}
    yield "policy-set", _set(before), _set(after)


def _contracts(policies: PolicySet) -> dict[str, Fields]:
    return {contract.id: fields_of(contract) for contract in policies.contracts}


def _set(policies: PolicySet) -> Fields:
    return {"version": policies.version, "hash": hash_policy_set(policies).hex()}


def _freezes(state: StateReader, overlay: StateReader, key: bytes) -> Iterator[_Pair]:
    before, after = (
        [] if value is None else [fields_of(each) for each in FREEZES.decode(value)]
        for value in (state.get(key), overlay.get(key))
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
}
