"""Faults of processes and of the machines they run on: killed, stopped, restarted, wrong clock."""

import asyncio
import signal

from tests.e2e.chaos.world import Violation, World

HOUR_MS = 3_600_000


async def hold(world: World, low_s: float, high_s: float) -> None:
    """Let a fault last; how long is part of the fault."""
    await asyncio.sleep(world.random.uniform(low_s, high_s))


async def kill_one(world: World) -> None:
    """SIGKILL a random node a few times, each time at a random moment of its work."""
    for _ in range(world.random.randint(1, 3)):
        victim = world.pick()
        await world.kill(victim)
        await hold(world, 0, 3)
        await world.start(victim)
        await hold(world, 0, 1)


async def kill_leader(world: World) -> None:
    """SIGKILL whoever leads."""
    victim = await world.leader()
    await world.kill(victim)
    await hold(world, 1, 4)
    await world.start(victim)


async def kill_two(world: World) -> None:
    """SIGKILL more nodes than the network can miss: it halts until one of them is back."""
    victims = world.random.sample(list(world.members), world.faulty_max + 1)
    await world.kill(*victims)
    await hold(world, 0.5, 3)
    await world.start(*victims)


async def kill_all(world: World) -> None:
    """SIGKILL every node at once."""
    await world.kill(*world.members)
    await world.start(*world.members)


async def kill_while_starting(world: World) -> None:
    """SIGKILL a node at a random moment of its start, three times; then let it start."""
    victim = world.pick()
    await world.kill(victim)
    for _ in range(3):
        world.local.start([victim])
        await hold(world, 0, 1.5)
        await world.kill(victim)
    await world.start(victim)


async def kill_all_while_starting(world: World) -> None:
    """SIGKILL every node at a random moment of its start; then let all start."""
    await world.kill(*world.members)
    for _ in range(2):
        world.local.start(world.members)
        await hold(world, 0.2, 1.5)
        await world.kill(*world.members)
    await world.start(*world.members)


async def stop_and_continue(world: World) -> None:
    """SIGSTOP a node for some seconds: it is silent, its connections stay."""
    await _freeze(world, [world.pick()], 3, 20)


async def stop_and_continue_briefly(world: World) -> None:
    """The same, for a few seconds."""
    await _freeze(world, [await world.leader()], 2, 4)


async def stop_all_and_continue(world: World) -> None:
    """SIGSTOP every node, as a machine that sleeps does."""
    await _freeze(world, list(world.members), 3, 8)


async def _freeze(world: World, victims: list[str], low_s: float, high_s: float) -> None:
    for victim in victims:
        world.send_signal(victim, signal.SIGSTOP)
    try:
        await hold(world, low_s, high_s)
    finally:
        for victim in victims:
            world.send_signal(victim, signal.SIGCONT)


async def restart_each(world: World) -> None:
    """Restart one node after the other, as an upgrade does."""
    for member in world.members:
        await world.stop(member)
        await world.start(member)


async def step_clock(world: World) -> None:
    """One clock jumps an hour ahead or back, and later returns."""
    victim = world.pick()
    world.step_clock(victim, world.random.choice((-HOUR_MS, HOUR_MS)))
    try:
        await hold(world, 5, 10)
        # Its own blocks are refused by the others; those of the others go on.
        await _expect_progress(world)
    finally:
        world.step_clock(victim, 0)


async def restart_with_a_wrong_clock(world: World) -> None:
    """A node starts with a clock that is an hour off, and gets the right time while it runs."""
    victim = world.pick()
    await world.kill(victim)
    world.step_clock(victim, world.random.choice((-HOUR_MS, HOUR_MS)))
    try:
        await world.start(victim)
        await hold(world, 2, 5)
        await _expect_progress(world)
    finally:
        world.step_clock(victim, 0)


async def second_process(world: World) -> None:
    """A second process on the data directory of a running node refuses; the first goes on."""
    victim = world.pick()
    pid = world.local.pid(victim)
    said = await world.refuse(victim)
    if "[start-data-in-use]" not in said:
        raise Violation(f"the second process on one data directory said:\n{said}")
    if world.local.pid(victim) != pid:
        raise Violation(f"{victim} ended when a second process tried its data directory")


async def _expect_progress(world: World) -> None:
    """The fault is one that the network must not stop for."""
    now_s = asyncio.get_running_loop().time()
    if await world.load.first_final_after(now_s, 30) is None:
        raise Violation("nothing became final, although only one node is faulty")
