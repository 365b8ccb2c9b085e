"""An export from the state after a block says what one from the genesis says of the rest."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.replay import Beginning
from ledger.verify import LogCopy, open_copy
from tests.builders import OWNER
from tests.unit.tools.audit.quarter import GENESIS, OTHER, rich
from tools.audit.export.prov import write_prov
from tools.audit.export.records import Filters, read_rows
from tools.audit.export.statements import ProvJson
from tools.audit.export.tables import RecordRows
from tools.audit.left import NOTHING_BEFORE
from tools.audit.segments import begin_at
from tools.mirror import folder_reader

HEIGHTS = range(1, len(rich().blocks))


def rows_of(copy: LogCopy, filters: Filters, begin: Beginning | None) -> list[Any]:
    rows = RecordRows(NOTHING_BEFORE if begin is None else begin.state)
    made = [(row.is_wanted, rows.row(row)) for row in read_rows(copy, filters, begin=begin)]
    return [row for is_wanted, row in made if is_wanted]


def provenance_of(copy: LogCopy, filters: Filters, begin: Beginning | None) -> dict[str, Any]:
    file = io.BytesIO()
    before = NOTHING_BEFORE if begin is None else begin.state
    write_prov(read_rows(copy, filters, begin=begin), copy.network, ProvJson, file, before)
    document: dict[str, Any] = json.loads(file.getvalue())
    return document


@pytest.mark.parametrize("member", ["", OTHER, OWNER])
def test_rows_after_every_block(stated_quarter: Path, member: str) -> None:
    copy = open_copy(folder_reader(stated_quarter), genesis=GENESIS)
    for height in HEIGHTS:
        filters = Filters(from_height=height + 1, member=member)
        begin = begin_at(stated_quarter, copy, height)
        assert rows_of(copy, filters, begin) == rows_of(copy, filters, None)


def test_provenance_after_every_block(stated_quarter: Path) -> None:
    """But for the name of a delivery whose record is not seen, which is told by its commitment."""
    copy = open_copy(folder_reader(stated_quarter), genesis=GENESIS)
    whole = provenance_of(copy, Filters(), None)
    exchange_of = {
        each["prov:activity"]: each["prov:entity"].removeprefix("log:exchange-")
        for each in whole["used"].values()
        if each["prov:entity"].startswith("log:exchange-")
    }
    unseen = set()
    for height in HEIGHTS:
        filters = Filters(from_height=height + 1)
        begin = begin_at(stated_quarter, copy, height)
        expected = provenance_of(copy, filters, None)
        found = provenance_of(copy, filters, begin)
        assert begin is not None
        for exchange, name in newest(whole, exchange_of, begin.start.index).items():
            new = f"log:delivery-{exchange}"
            if names_in(expected, name, new):
                assert found["entity"].pop(new) == whole["entity"][name]
                unseen.add(new)
        assert found.setdefault("entity", {}) == expected.setdefault("entity", {})
        assert found == expected
    assert len(unseen) >= 3


def newest(whole: dict[str, Any], exchange_of: dict[str, str], end: int) -> dict[str, str]:
    """Of each exchange the newest delivery before an entry."""
    places = sorted(
        int(name.removeprefix("log:delivery-"))
        for name in whole["entity"]
        if name.startswith("log:delivery-")
    )
    return {
        exchange_of[f"log:event-{place}"]: f"log:delivery-{place}"
        for place in places
        if place < end
    }


def names_in(document: dict[str, Any], name: str, new: str) -> bool:
    """Whether a relation names an entity; it is named anew from now on."""
    sections = [relations for section, relations in document.items() if section != "prefix"]
    named = [
        (relation, role)
        for relations in sections
        for relation in relations.values()
        for role, value in relation.items()
        if value == name
    ]
    for relation, role in named:
        relation[role] = new
    return bool(named)
