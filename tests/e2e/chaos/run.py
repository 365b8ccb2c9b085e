"""A run of faults: seeded order, a line for each with its figures, one line that repeats a failure.

python -m tests.e2e.chaos.run --minutes 30 [--seed 7] [--only kill_all,cut_in_half]
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.e2e.chaos import faults_disk, faults_epochs, faults_network, faults_process
from tests.e2e.chaos.checker import check, check_replay
from tests.e2e.chaos.world import Violation, World, open_world
from tools.exits import ToolError

NODES = 4
RATE_PER_S = 30
HEAL_S_MAX = 60.0
CALM_S = 1.0

Fault = Callable[[World], Awaitable[None]]

FAULTS: tuple[Fault, ...] = (
    faults_process.kill_one,
    faults_process.kill_leader,
    faults_process.kill_two,
    faults_process.kill_all,
    faults_process.kill_while_starting,
    faults_process.kill_all_while_starting,
    faults_process.stop_and_continue,
    faults_process.stop_and_continue_briefly,
    faults_process.stop_all_and_continue,
    faults_process.restart_each,
    faults_process.step_clock,
    faults_process.restart_with_a_wrong_clock,
    faults_process.second_process,
    faults_network.cut_off_one,
    faults_network.cut_in_half,
    faults_network.cut_in_half_briefly,
    faults_network.cut_off_all,
    faults_network.cut_one_way,
    faults_network.reset_lines,
    faults_network.slow_lines,
    faults_network.slow_node,
    faults_network.narrow_lines,
    faults_network.miss_few_then_idle,
    faults_disk.fill_disk,
    faults_disk.cut_votes,
    faults_disk.cut_new_votes,
    faults_disk.damage_votes,
    faults_disk.damage_store,
    faults_disk.copy_directory,
    faults_disk.lose_store,
    faults_disk.miss_entries,
    faults_epochs.change_validators,
    faults_epochs.change_validators_and_kill,
    faults_epochs.change_validators_and_cut,
    faults_epochs.change_validators_and_kill_all,
)
# What takes minutes: only where there is time for it.
LONG: tuple[Fault, ...] = (faults_disk.miss_many_entries,)
LONG_MINUTES_MIN = 20
# About a minute's worth for every run of the tests.
SHORT: tuple[Fault, ...] = (
    faults_process.kill_leader,
    faults_process.kill_all,
    faults_process.stop_and_continue_briefly,
    faults_process.second_process,
    faults_network.cut_in_half,
    faults_disk.cut_votes,
    faults_disk.fill_disk,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one fault did to the network, in seconds, as its client saw it.

    `heal_s` from the end of the fault to the first event sent and told to be final after it;
    `rejoin_s` until every node has what was final at the end of the fault.
    """

    fault: str
    took_s: float
    gap_s: float
    heal_s: float
    rejoin_s: float
    events: int
    entries: int

    def format(self) -> str:
        return (
            f"{self.fault:28} {self.took_s:5.1f} s  without finality {self.gap_s:5.2f} s"
            f"  healed {self.heal_s:5.2f} s  rejoined {self.rejoin_s:5.2f} s"
            f"  {self.events:5} events  {self.entries:6} entries"
        )


@dataclass(slots=True)
class Report:
    """Figures of a run."""

    rows: list[Figures] = field(default_factory=list)

    def summary(self) -> str:
        events = sum(row.events for row in self.rows)
        worst_gap = max(self.rows, key=lambda row: row.gap_s)
        worst_heal = max(self.rows, key=lambda row: row.heal_s)
        worst_rejoin = max(self.rows, key=lambda row: row.rejoin_s)
        return (
            f"{len(self.rows)} faults, {events} events acknowledged, none lost, none twice;"
            f" longest without finality {worst_gap.gap_s:.2f} s ({worst_gap.fault}),"
            f" slowest to heal {worst_heal.heal_s:.2f} s ({worst_heal.fault}),"
            f" slowest to rejoin {worst_rejoin.rejoin_s:.2f} s ({worst_rejoin.fault})"
        )


async def inflict(world: World, fault: Fault) -> Figures:
    """One fault under load, until the network has healed; then everything is checked."""
    loop = asyncio.get_running_loop()
    load = world.load
    before = load.final_count
    load.resume()
    if await load.first_final_after(loop.time(), HEAL_S_MAX) is None:
        raise Violation("nothing becomes final before the fault")
    started_s = loop.time()
    await fault(world)
    ended_s = loop.time()
    heights = [await world.status(member) for member in world.everyone]
    height = max(status["height"] for status in heights)
    healed_s = await load.first_final_after(ended_s, HEAL_S_MAX)
    if healed_s is None:
        raise Violation(f"nothing became final in {HEAL_S_MAX:.0f} s after the fault")
    for member in world.everyone:
        await world.wait_height(member, height, HEAL_S_MAX)
    rejoined_s = loop.time()
    await asyncio.sleep(CALM_S)
    times = [started_s, *load.final_times(started_s, loop.time())]
    entries = await check(world)
    return Figures(
        fault=fault.__name__,
        took_s=ended_s - started_s,
        gap_s=max(later - earlier for earlier, later in pairwise(times)),
        heal_s=healed_s - ended_s,
        rejoin_s=rejoined_s - ended_s,
        events=load.final_count - before,
        entries=entries,
    )


async def run_faults(
    directory: Path,
    faults: Sequence[Fault],
    *,
    seed: int,
    say: Callable[[str], None],
    until_s: float | None = None,
    nodes: int = NODES,
    rate_per_s: int = RATE_PER_S,
) -> Report:
    """Every fault once in a seeded order, or rounds of them until `until_s` (monotonic)."""
    order = random.Random(seed)
    report = Report()
    async with open_world(
        directory, nodes=nodes, seed=seed, rate_per_s=rate_per_s, say=say
    ) as world:
        while True:
            for fault in order.sample(faults, len(faults)):
                if until_s is not None and time.monotonic() > until_s:
                    break
                try:
                    row = await inflict(world, fault)
                except Exception as error:
                    raise Violation(f"{fault.__name__}: {_describe(error)}") from error
                report.rows.append(row)
                say(row.format())
            if until_s is None or time.monotonic() > until_s:
                break
        await check_replay(world)
    return report


def _describe(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_describe(each) for each in error.exceptions)
    code = f"{error.code} " if isinstance(error, ToolError) else ""
    return f"{type(error).__name__}: {code}{error}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", help="names of faults, with commas")
    parser.add_argument("--rate", type=int, default=RATE_PER_S, help="events in a second")
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--keep", action="store_true", help="keep the directory in any case")
    given = parser.parse_args()
    by_name = {fault.__name__: fault for fault in (*FAULTS, *LONG)}
    faults = [*FAULTS, *(LONG if given.minutes >= LONG_MINUTES_MIN else ())]
    if given.only:
        faults = [by_name[name] for name in given.only.split(",")]
    if not faults_disk.can_mount():
        print("not root: the faults that need a small disk are left out", flush=True)
        faults = [fault for fault in faults if fault is not faults_disk.fill_disk]
    directory = Path(tempfile.mkdtemp(prefix="tally-chaos-"))
    again = f"make chaos MINUTES={given.minutes:g} SEED={given.seed}"
    arguments = [f"--only {given.only}"] * bool(given.only)
    arguments += [f"--nodes {given.nodes}"] * (given.nodes != NODES)
    arguments += [f"--rate {given.rate}"] * (given.rate != RATE_PER_S)
    again += f" ARGS='{' '.join(arguments)}'" * bool(arguments)
    print(f"chaos: seed {given.seed}, {given.minutes:g} minutes, {directory}", flush=True)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    until_s = time.monotonic() + 60 * given.minutes
    running = run_faults(
        directory / "net",
        faults,
        seed=given.seed,
        say=say,
        until_s=until_s,
        nodes=given.nodes,
        rate_per_s=given.rate,
    )
    try:
        report = asyncio.run(running)
    except Exception as error:
        print(f"chaos: FAILED: {_describe(error)}\nagain: {again}")
        print(f"logs: {directory}/net/nodes/*/node.log")
        return 1
    print(f"chaos: {report.summary()}")
    if not given.keep:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
