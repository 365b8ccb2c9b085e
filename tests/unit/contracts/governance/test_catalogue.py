"""Every action that an event can hold has its row."""

from typing import get_args

from contracts.governance.catalogue import ROWS
from ledger.governance.actions import Action, ContractAction, ValidatorAction

JUDGED_TOGETHER = (*get_args(ContractAction), *get_args(ValidatorAction))


def test_every_action_has_its_row_and_no_row_is_of_anything_else() -> None:
    assert frozenset(ROWS) == frozenset(get_args(Action))


def test_only_what_is_judged_together_has_no_change_of_its_own() -> None:
    assert [each for each, row in ROWS.items() if row.change is None] == [
        each for each in ROWS if each in JUDGED_TOGETHER
    ]
