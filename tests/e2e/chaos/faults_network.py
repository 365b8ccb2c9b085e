"""Faults of the lines between nodes: cut both ways or one way, slow, narrow, reset."""

import asyncio

from tests.e2e.chaos.faults_process import hold
from tests.e2e.chaos.world import Violation, World
from tools.wan import Way

BURST = 500
DRAIN_S_MAX = 30.0
SETTLE_S = 1.5
SETTLE_LOOKS_MAX = 6


async def _cut(world: World, ways: list[Way], low_s: float, high_s: float) -> None:
    for way in ways:
        way.cut()
    try:
        await hold(world, low_s, high_s)
    finally:
        for way in ways:
            way.heal()


def _split(world: World, size: int) -> tuple[list[str], list[str]]:
    group = world.random.sample(list(world.members), size)
    return group, world.others(*group)


async def cut_off_one(world: World) -> None:
    """A minority is cut off: the others go on."""
    group, rest = _split(world, world.faulty_max)
    both = world.ways_between(group, rest) + world.ways_between(rest, group)
    await _cut(world, both, 3, 20)


async def cut_in_half(world: World) -> None:
    """No side has a quorum: nothing may become final until the lines are back."""
    group, rest = _split(world, len(world.members) // 2)
    ways = world.ways_between(group, rest) + world.ways_between(rest, group)
    for way in ways:
        way.cut()
    try:
        before = await _settled_height(world)
        await hold(world, 1, 10)
        after = await _height(world)
    finally:
        for way in ways:
            way.heal()
    if after != before:
        raise Violation(f"blocks {before + 1} to {after} became final without a quorum")


async def cut_in_half_briefly(world: World) -> None:
    """The same for a moment, several times."""
    for _ in range(3):
        group, rest = _split(world, len(world.members) // 2)
        ways = world.ways_between(group, rest) + world.ways_between(rest, group)
        await _cut(world, ways, 0.2, 2)


async def cut_off_all(world: World) -> None:
    """Every line is cut."""
    await _cut(world, world.ways_between(world.members, world.members), 2, 10)


async def cut_one_way(world: World) -> None:
    """A node hears the others, and they do not hear it; or the other way round."""
    group, rest = _split(world, 1)
    if world.random.random() < 0.5:
        group, rest = rest, group
    await _cut(world, world.ways_between(group, rest), 3, 12)


async def reset_lines(world: World) -> None:
    """Every connection between nodes breaks, again and again."""
    for _ in range(world.random.randint(3, 8)):
        for wire in world.wires.values():
            wire.line.reset()
        await hold(world, 0.05, 1)


async def slow_lines(world: World) -> None:
    """Long lines: a delay of 50 to 400 ms each way, and jitter, between all nodes."""
    await _spoil(
        world,
        [way for wire in world.wires.values() for way in (wire.there, wire.back)],
        delay_ms=world.random.randint(50, 400),
        jitter_ms=100,
    )


async def slow_node(world: World) -> None:
    """One node at the end of long lines."""
    wires = world.wires_of(world.pick())
    ways = [way for wire in wires for way in (wire.there, wire.back)]
    await _spoil(world, ways, delay_ms=world.random.randint(50, 400), jitter_ms=100)


async def narrow_lines(world: World) -> None:
    """One node behind lines of 20 KB/s each, and more to send than they carry."""
    victim = world.pick()
    ways = [way for wire in world.wires_of(victim) for way in (wire.there, wire.back)]
    async with asyncio.TaskGroup() as group:
        group.create_task(_spoil(world, ways, bytes_per_s=20_000))
        group.create_task(world.load.submit_many(BURST, world.others(victim)))


async def miss_few_then_idle(world: World) -> None:
    """A node misses a few blocks, then nothing happens any more: nothing new tells it."""
    left = await world.load.drain(DRAIN_S_MAX)
    if left:
        raise Violation(f"{left} events are not final after {DRAIN_S_MAX:.0f} s without a fault")
    victim = world.pick()
    rest = world.others(victim)
    ways = world.ways_between([victim], rest) + world.ways_between(rest, [victim])
    for way in ways:
        way.cut()
    try:
        for _ in range(world.random.randint(1, 6)):
            await world.load.submit_many(1, rest)
        await hold(world, 0, 8)
        height = await _height(world)
    finally:
        for way in ways:
            way.heal()
    loop = asyncio.get_running_loop()
    healed_s = loop.time()
    await world.wait_height(victim, height, DRAIN_S_MAX)
    world.note(
        f"the tip was there {loop.time() - healed_s:.2f} s after the line, without new events"
    )
    world.load.resume()


async def _spoil(
    world: World,
    ways: list[Way],
    *,
    delay_ms: int = 0,
    jitter_ms: int = 0,
    bytes_per_s: int = 0,
) -> None:
    for way in ways:
        way.delay_ms, way.jitter_ms, way.bytes_per_s = delay_ms, jitter_ms, bytes_per_s
    try:
        await hold(world, 8, 15)
    finally:
        for way in ways:
            way.delay_ms, way.jitter_ms, way.bytes_per_s = 0, 0, 0


async def _height(world: World) -> int:
    return max([(await world.status(member))["height"] for member in world.members])


async def _settled_height(world: World) -> int:
    """The height once it stands still.

    What had its quorum before a cut may still be told around inside one half; how long that takes
    is a matter of how busy the machine is.
    """
    height = await _height(world)
    for _ in range(SETTLE_LOOKS_MAX):
        await asyncio.sleep(SETTLE_S)
        before, height = height, await _height(world)
        if height == before:
            return height
    raise Violation(f"blocks go on to become final without a quorum: {height}")
