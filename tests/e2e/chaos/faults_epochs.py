"""Changes of the list of validators under load, alone and with other faults around the seal block.

One node more, the guest, is voted in and out again. In between it stays as an observer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ledger.governance.actions import Action
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.quorum.governance import RemoveValidator
from tests.e2e.chaos.faults_process import hold
from tests.e2e.chaos.world import Violation, World
from tools.founding import read_application

GUEST = "cn-3302-customs"
BALLOT_BLOCKS = 5_000
EPOCH_S_MAX = 60.0


async def change_validators(world: World) -> None:
    """A fifth validator joins, works for a while, and leaves."""
    await _join(world)
    await hold(world, 1, 4)
    await _leave(world)


async def change_validators_and_kill(world: World) -> None:
    """The same, while a node is killed and started again at each change."""
    await _around(world, _join, _kill)
    await _around(world, _leave, _kill)


async def change_validators_and_cut(world: World) -> None:
    """The same, while a node is cut off at each change."""
    await _around(world, _join, _cut_off)
    await _around(world, _leave, _cut_off)


async def change_validators_and_kill_all(world: World) -> None:
    """The same, while every node is killed at once at each change."""
    await _around(world, _join, _kill_all)
    await _around(world, _leave, _kill_all)


async def _around(
    world: World,
    change: Callable[[World], Awaitable[None]],
    fault: Callable[[World], Awaitable[None]],
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(change(world))
        group.create_task(fault(world))


async def _kill(world: World) -> None:
    await hold(world, 0, 2)
    victim = world.pick()
    await world.kill(victim)
    await hold(world, 0, 3)
    await world.start(victim)


async def _kill_all(world: World) -> None:
    await hold(world, 0, 2)
    await world.kill(*world.members)
    await world.start(*world.members)


async def _cut_off(world: World) -> None:
    await hold(world, 0, 2)
    victim = world.pick()
    rest = world.others(victim)
    ways = world.ways_between([victim], rest) + world.ways_between(rest, [victim])
    for way in ways:
        way.cut()
    try:
        await hold(world, 1, 6)
    finally:
        for way in ways:
            way.heal()


async def _join(world: World) -> None:
    epoch = await world.epoch()
    path = world.local.directory / "nodes" / GUEST / "application.json"
    if not path.exists():
        world.local.add_node(GUEST)
    await _decide(world, world.members, read_application(path))
    if GUEST not in world.guests:
        await world.invite(GUEST)
    await world.wait_epoch(epoch + 1, EPOCH_S_MAX)


async def _leave(world: World) -> None:
    epoch = await world.epoch()
    await _decide(world, [*world.members, GUEST], RemoveValidator(member=GUEST))
    await world.wait_epoch(epoch + 1, EPOCH_S_MAX)


async def _decide(world: World, voters: Sequence[str], *actions: Action) -> None:
    """Propose and approve; all but one of the voters are enough."""
    height = world.load.height
    body = GovernanceProposed(
        actions=actions,
        text="",
        activate_height=height,
        ballots_until_height=height + BALLOT_BLOCKS,
    )
    first, *rest = voters[:-1]
    proposal = world.sign(body, first, "admin")
    ballot = GovernanceBalloted(proposal=proposal.digest, approve=True, text="")
    events = [proposal, *(world.sign(ballot, voter, "admin") for voter in rest)]
    for event in events:
        if not (await world.load.submit_one(event)).is_applied:
            raise Violation(f"{event.kind} of {event.member} was refused")
