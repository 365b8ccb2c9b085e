"""One run: a plan carried out in a world under the eyes of the checker."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ledger.events import Event
from ledger.governance.actions import Action as Change
from ledger.quorum.governance import RemoveValidator
from node.engine import driver as driver_module
from tests.simulation.byzantine import known_adversaries
from tests.simulation.checkers import Checker, require
from tests.simulation.memory import remembered
from tests.simulation.network import Weather
from tests.simulation.plan import DELTA_MS, Action, Mode, Plan, make_plan
from tests.simulation.signatures import cheap_signatures
from tests.simulation.workload import EVENTS, addition, ballot, ground, proposal
from tests.simulation.world import HonestSite, World, silent_logs

MEMORY_FOLDER = Path("/dev/shm")
VALIDATORS_MIN, VALIDATORS_MAX = 4, 7
QUIET_MS = 12_000
HEAL_MS_MAX = 2_000  # from the healing of the network to the next finality, one validator faulty
# Each further one may lead the view after that, and uses up its timer: 3 delta.
FAULTY_MS = 3 * DELTA_MS
RETRY_MS = 2_000


@dataclass(slots=True, kw_only=True)
class Result:
    """What a run was."""

    seed: int
    mode: Mode
    transcript: str
    frames: int
    crashes: int
    epochs: int
    events: int
    blocks: int
    nullified: int
    stall_ms: int
    healed_ms: int | None = None  # from healing to the next finality
    adversaries: tuple[str, ...] = ()


@dataclass(slots=True)
class Runner:
    """Carries out a plan."""

    plan: Plan
    world: World
    checker: Checker = field(init=False)
    submitted: dict[bytes, Event] = field(default_factory=dict)
    healed_us: int | None = None

    def run(self) -> Result:
        """Until the end of the plan, or earlier when all that must happen has happened."""
        plan, world = self.plan, self.world
        kinds = known_adversaries()
        chosen = {member: kinds[name] for member, name in plan.adversaries.items()}
        world.populate(chosen, plan.names)
        world.observer = self.checker = Checker(world)
        for name, skew_ms in plan.skews_ms.items():
            world.honest[name].clock.skew_ms = skew_ms
        for action in plan.actions:
            world.loop.after(action.at_ms, self._act(action))
        world.start()
        world.loop.run_until(plan.heal_ms * 1_000)
        if plan.mode != "safety":
            self._freeze()
            self._settle()
        self.checker.check_end(world.running)
        return self._result()

    # --- faults -------------------------------------------------------------------------------

    def _act(self, action: Action) -> Callable[[], None]:
        return lambda: getattr(self, f"_{action.what}")(action)

    def _split(self, action: Action) -> None:
        rest = [name for name in self.world.names if name not in action.names]
        self.world.network.cut((one, other) for one in action.names for other in rest)

    def _mute(self, action: Action) -> None:
        rest = [name for name in self.world.names if name not in action.names]
        self.world.network.mute((one, other) for one in action.names for other in rest)

    def _heal(self, action: Action) -> None:
        self.world.network.heal(self.world.names)

    def _crash(self, action: Action) -> None:
        for name in action.names:
            self.world.honest[name].crash()

    def _skew(self, action: Action) -> None:
        self.world.honest[action.names[0]].clock.skew_ms += action.value

    def _full(self, action: Action) -> None:
        disk = self.world.honest[action.names[0]].disk
        disk.is_full = True

        def free() -> None:
            disk.is_full = False

        self.world.loop.after(action.value, free)

    def _submit(self, action: Action) -> None:
        event = self.world.ground.events[action.value]
        self._hand_in(event, [self.world.honest[action.names[0]]])

    def _hand_in(self, event: Event, sites: list[HonestSite]) -> None:
        self.submitted[event.digest] = event
        for site in sites:
            site.submit(event.data)

    def _change(self, action: Action) -> None:
        """Members propose another list, and a quorum of them approves."""
        world, checker = self.world, self.checker
        current = [validator.member for validator in checker.lists[-1]]
        faulty = world.adversaries
        spare = [name for name in world.names if name not in current]
        changes: list[Change] = []
        after = list(current)
        for _ in range(world.random.choice((1, 1, 2))):
            may_add = spare and len(after) < VALIDATORS_MAX
            if may_add and (len(after) == VALIDATORS_MIN or world.random.random() < 0.6):
                name = spare.pop(world.random.randrange(len(spare)))
                changes.append(addition(world.ground.network, name))
                after.append(name)
            elif len(after) > VALIDATORS_MIN:
                removable = [name for name in current if name in after]
                name = world.random.choice(removable)
                changes.append(RemoveValidator(member=name))
                after.remove(name)
        bad = sum(name in faulty for name in after)
        if not changes or 3 * bad >= len(after):
            return
        honest = [name for name in current if name not in faulty]
        label = f"change {len(self.submitted)}"
        proposed = proposal(world.ground.network, honest[0], tuple(changes), label)
        voters = honest[1:]
        ballots = [ballot(world.ground.network, name, proposed) for name in voters]
        for event in (proposed, *ballots):
            self._hand_in(event, world.running[:1])
        self._insist((proposed, *ballots))

    def _insist(self, events: tuple[Event, ...]) -> None:
        """Administrators hand in again what is not final, in order, elsewhere."""

        def again() -> None:
            waiting = [event for event in events if event.digest not in self.checker.recorded]
            running = [site for site in self.world.running if site.member in self._followers()]
            if waiting and running and self.healed_us is None:
                site = self.world.random.choice(running)
                for event in waiting:
                    site.submit(event.data)
                self.world.loop.after(RETRY_MS, again)

        self.world.loop.after(RETRY_MS, again)

    # --- healing, and what must follow --------------------------------------------------------

    @property
    def healthy(self) -> list[HonestSite]:
        """Nodes that nothing is wrong with any more."""
        frozen = self.plan.frozen
        return [site for name, site in self.world.honest.items() if name not in frozen]

    def _freeze(self) -> None:
        """Faults end, but for those that freeze on a minority."""
        world, plan = self.world, self.plan
        world.network.weather = Weather()
        world.restart_ms_max = 11
        for site in world.honest.values():
            site.disk.crash_rate = 0.0
            site.disk.is_full = False
            site.clock.skew_ms = max(-100, min(100, site.clock.skew_ms))
        for name, how in plan.frozen.items():
            site = world.honest[name]
            if how == "dead":
                site.is_gone = True
                site.crash()
            elif how == "slow":
                world.network.slow_ms[name] = 700
            else:
                world.network.cut((name, other) for other in world.names if other != name)
        for site in self.healthy:
            site.start()
        cut = [name for name, how in plan.frozen.items() if how == "cut"]
        world.network.heal(name for name in world.names if name not in cut)
        self.healed_us = world.loop.now_us
        world.loop.after(200, self._hand_in_again)

    def _hand_in_again(self) -> None:
        """Clients hand in what they saw no receipt for, and one event more."""
        self.submitted[self.world.ground.events[EVENTS - 1].digest] = self.world.ground.events[-1]
        linked = [site for site in self.healthy if site.member in self._followers()]
        for event in self.submitted.values():
            if event.digest not in self.checker.recorded:
                self.world.random.choice(linked).submit(event.data)

    def _settle(self) -> None:
        world, checker, plan = self.world, self.checker, self.plan
        end_us = plan.end_ms * 1_000
        world.loop.run_until(world.loop.now_us + 300_000)
        world.loop.run_until(end_us, is_done=self._is_settled)
        require(self._is_settled(), "liveness: {}", self._describe())
        if plan.adversaries:
            return
        settled_us = world.loop.now_us
        world.loop.run_until(
            end_us,
            is_done=lambda: world.loop.now_us >= checker.chatter_us + QUIET_MS * 1_000,
        )
        quiet_us = world.loop.now_us - checker.chatter_us
        require(quiet_us >= QUIET_MS * 1_000, "no silence {} us after the end", settled_us)

    def _is_settled(self) -> bool:
        """Everything handed in is final, at every healthy node."""
        checker = self.checker
        height = len(checker.chain)
        sites = [site for site in self.healthy if site.member in self._followers()]
        if not all(site.is_up and site.driver_log.tip.height == height for site in sites):
            return False
        return all(digest in checker.recorded for digest in self._wanted())

    def _wanted(self) -> list[bytes]:
        known = {event.digest for event in self.world.ground.events}
        return [digest for digest in self.submitted if digest in known]

    def _followers(self) -> list[str]:
        """Who is connected to the network: the members of the present list."""
        return [validator.member for validator in self.checker.lists[-1]]

    def _describe(self) -> str:
        missing = sum(digest not in self.checker.recorded for digest in self._wanted())
        nodes = "; ".join(
            f"{site.member} height {site.driver_log.tip.height}"
            f" epoch {site.driver.epochs.current.number} view {site.driver.core.current_view}"
            f" final {site.driver.core.final_view} pool {len(site.driver.chain.pool)}"
            for site in self.world.running
        )
        return f"{missing} events are not final, chain {len(self.checker.chain)}; {nodes}"

    def _result(self) -> Result:
        world, checker, plan = self.world, self.checker, self.plan
        times_us = checker.extended_us
        healed_ms = None
        if self.healed_us is not None:
            later = [each for each in times_us if each > self.healed_us]
            healed_ms = (later[0] - self.healed_us) // 1_000 if later else None
            faulty = len(plan.frozen) + len(plan.adversaries)
            allowed_ms = HEAL_MS_MAX + max(0, faulty - 1) * FAULTY_MS
            require((healed_ms or 0) <= allowed_ms, "heals late: after {} ms", healed_ms)
        gaps = [b - a for a, b in zip([0, *times_us], times_us, strict=False)]
        return Result(
            seed=plan.seed,
            mode=plan.mode,
            transcript=world.transcript(),
            frames=world.network.frames,
            crashes=world.crashes,
            epochs=len(checker.lists),
            events=len(checker.recorded),
            blocks=len(checker.chain),
            nullified=checker.nullified,
            stall_ms=max(gaps, default=0) // 1_000,
            healed_ms=healed_ms,
            adversaries=tuple(plan.adversaries.values()),
        )

    def close(self) -> None:
        """End every process, so that nothing is left to run."""
        for site in self.world.honest.values():
            site.is_gone = True
            if site.process is not None:
                process, site.process = site.process, None
                process.kill()
        self.world.loop.finish()


def run_plan(plan: Plan, *, is_real: bool = False, remembers: bool = True) -> Result:
    """Carry out a plan. `is_real`: with Ed25519 and nothing shared between nodes.

    Raises what went wrong, with the line that reproduces it.
    """
    with ExitStack() as stack:
        if not is_real:
            stack.enter_context(cheap_signatures())
        if remembers and not is_real:
            stack.enter_context(remembered())
        stack.enter_context(silent_logs())
        stack.enter_context(_rotation(plan.rotate_bytes))
        parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else None
        folder = Path(tempfile.mkdtemp(prefix="tallystick-", dir=parent))
        stack.callback(shutil.rmtree, folder)
        world = World(
            random=Random(f"run {plan.mode} {plan.seed}"),
            ground=ground(plan.validators, is_real=is_real),
            folder=folder,
            weather=plan.weather,
            is_real=is_real,
        )
        world.crash_rate = plan.crash_rate
        world.restart_ms_max = plan.restart_ms_max
        stack.enter_context(world.files.installed())
        runner = Runner(plan, world)
        stack.callback(runner.close)
        try:
            return runner.run()
        except Exception as error:
            error.add_note(f"reproduce: {reproduce(plan)}")
            raise


def run_seed(seed: int, mode: Mode = "safety", *, is_real: bool = False) -> Result:
    """Draw the plan of a seed and carry it out."""
    return run_plan(make_plan(seed, mode), is_real=is_real)


def reproduce(plan: Plan) -> str:
    """The command that repeats a run."""
    return f"python -m tests.simulation.run --mode {plan.mode} --first {plan.seed} --seeds 1"


@contextmanager
def _rotation(size_bytes: int) -> Iterator[None]:
    """Write-ahead logs are rotated beyond this size."""
    real = driver_module.WAL_ROTATE_BYTES
    driver_module.WAL_ROTATE_BYTES = size_bytes
    try:
        yield
    finally:
        driver_module.WAL_ROTATE_BYTES = real
