"""Freezes that do not fit: as many as the state can hold, and one more."""

import msgspec

from contracts.governance.effects import find_faults
from ledger.governance.actions import SetFreeze
from ledger.registry import FREEZES, Freeze
from ledger.state import FREEZES_KEY
from tests.builders import DATASETS, MEMBERS, NETWORK
from tests.unit.contracts.samples import states

LONG = "\N{CJK UNIFIED IDEOGRAPH-20000}" * 500  # 2,000 bytes


def test_freezes_with_long_reasons_are_refused_before_they_do_not_fit() -> None:
    state = states()
    scopes = [(one, each.id) for one in sorted(MEMBERS) for each in DATASETS]
    scopes += [(one, "") for one in sorted(MEMBERS)]
    freezes = [
        Freeze(requester=one, provider=other, dataset=dataset, reason=LONG)
        for one, dataset in scopes
        for other in sorted(MEMBERS)[:2]
    ]
    found = []
    for freeze in freezes:
        action = SetFreeze(freeze=freeze)
        faults = find_faults(state, (action,), network=NETWORK)
        found.append([fault.code for fault in faults])
        if not faults:
            before = FREEZES.decode(state.pairs.get(FREEZES_KEY) or msgspec.msgpack.encode(()))
            state.pairs[FREEZES_KEY] = FREEZES.encode((*before, freeze))
    assert found[0] == []
    assert found[-1] == ["freezes-full"]
