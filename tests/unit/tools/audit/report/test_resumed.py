"""A report from the state after a block says what one from the genesis says of the same period."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import OWNER
from tests.unit.tools.audit.quarter import GENESIS, OTHER, rich, write
from tests.unit.tools.audit.report.test_gathering import silent
from tools.audit.period import Period
from tools.audit.report.controls import Evidence
from tools.audit.report.findings import Findings
from tools.audit.report.gathering import gather
from tools.audit.segments import Part, begin_at, replay_one
from tools.contract.past import Past


@pytest.fixture(scope="module")
def stated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log with the state after every block."""
    copy = write(tmp_path_factory.mktemp("stated"))
    replay_one(Part(directory=copy, genesis=GENESIS, from_height=0, to_height=0, every=1))
    return copy


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
def test_from_every_block_on(stated: Path, pair: tuple[str, ...]) -> None:
    blocks = rich().blocks
    for block in blocks[:-1]:
        height, time_ms = block.header.height, block.header.time_ms
        for end_ms in (None, blocks[-1].header.time_ms):
            period = Period(start_ms=time_ms + 1, end_ms=end_ms)
            if period.is_over(blocks[height].header.time_ms):
                continue
            expected = gather(Past(stated, None), period, frozenset(pair), map, silent)
            past = Past(stated, None, lambda copy, height=height: begin_at(stated, copy, height))
            found = gather(past, period, frozenset(pair), map, silent)
            begins = found.ground.begins
            assert begins is not None
            end = block.header.tree_size + 1 + block.header.record_count
            assert (begins.height, begins.time_ms, begins.entries) == (height, time_ms, end)
            assert without_ground(found) == without_ground(expected)
