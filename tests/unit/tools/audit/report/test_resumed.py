"""A report from the state after a block says what one from the genesis says of the same period."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.builders import OWNER
from tests.unit.tools.audit.quarter import OTHER, rich
from tests.unit.tools.audit.report.test_gathering import silent
from tools.audit.period import Period
from tools.audit.report.controls import Evidence
from tools.audit.report.findings import Findings
from tools.audit.report.gathering import gather
from tools.audit.segments import begin_at
from tools.contract.past import Past


def without_ground(found: Findings) -> Findings:
    """What was found, but for where it was begun and which record reported an incident."""
    gaps = tuple(
        replace(gap, index=None) if gap.gap.startswith("incident") else gap for gap in found.gaps
    )
    controls = tuple(
        replace(each, exceptions=Evidence(each.exceptions.count))
        if each.id == "incidents"
        else each
        for each in found.controls
    )
    ground = replace(found.ground, begins=None)
    return replace(found, ground=ground, gaps=gaps, controls=controls)


@pytest.mark.parametrize("pair", [(), (OTHER, OWNER)])
def test_from_every_block_on(stated_quarter: Path, pair: tuple[str, ...]) -> None:
    blocks = rich().blocks
    for block in blocks[:-1]:
        height, time_ms = block.header.height, block.header.time_ms
        # Every third ends before the log does, and every third before the next block.
        end_ms = (None, blocks[-1].header.time_ms, blocks[height].header.time_ms)[height % 3]
        period = Period(start_ms=time_ms + 1, end_ms=end_ms)
        expected = gather(Past(stated_quarter, None), period, frozenset(pair), map, silent)
        past = Past(stated_quarter, None, partial(begin_at, stated_quarter, height=height))
        found = gather(past, period, frozenset(pair), map, silent)
        begins = found.ground.begins
        assert begins is not None
        end = block.header.tree_size + 1 + block.header.record_count
        assert (begins.height, begins.time_ms, begins.entries) == (height, time_ms, end)
        assert without_ground(found) == without_ground(expected)
