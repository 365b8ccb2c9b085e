"""What happens in a run, drawn from its seed alone before it begins.

Three modes:

- safety: faults of all kinds all along, until the run simply ends
- liveness: faults, then at `heal_ms` they freeze on a minority (dead, cut off or slow for good) and
  the network of the healthy quorum heals: everything must become final, then all fall silent
- epochs: the list of validators changes about four times under faults; at the end all heals
"""

from dataclasses import dataclass, field
from random import Random
from typing import Literal

from tests.simulation.byzantine import known_adversaries
from tests.simulation.network import Weather
from tests.simulation.workload import EVENTS, name_of

Mode = Literal["safety", "liveness", "epochs"]
MODES: tuple[Mode, ...] = ("safety", "liveness", "epochs")

DELTA_MS = 300


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happens at a time. `names` are sites, `value` depends on what happens."""

    at_ms: int
    what: Literal["split", "mute", "heal", "crash", "skew", "full", "submit", "change"]
    names: tuple[str, ...] = ()
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run."""

    seed: int
    mode: Mode
    validators: int  # of epoch 0
    names: tuple[str, ...]  # all sites
    adversaries: dict[str, str]  # name of the adversary by member
    weather: Weather
    crash_rate: float
    restart_ms_max: int
    rotate_bytes: int
    skews_ms: dict[str, int]
    actions: tuple[Action, ...]
    heal_ms: int  # when faults end, or freeze on `frozen`
    end_ms: int
    frozen: dict[str, str] = field(default_factory=dict)  # dead, cut or slow, by member


def make_plan(seed: int, mode: Mode, *, adversary: str | None = None) -> Plan:
    """The plan of a seed. `adversary`: this one takes part instead of drawn ones."""
    random = Random(f"{mode} {seed}")
    if mode == "epochs":
        validators, spare = random.choice((4, 4, 5, 6)), random.choice((2, 3))
    else:
        validators, spare = (
            random.choice((4, 4, 4, 5, 5, 6, 6, 7, 7, 10 if seed % 8 == 0 else 4)),
            0,
        )
    names = tuple(name_of(number) for number in range(validators + spare))
    faulty_max = (validators - 1) // 3
    heal_ms = {"safety": 16_000, "liveness": 7_000, "epochs": 18_000}[mode]
    end_ms = {"safety": 16_000, "liveness": 67_000, "epochs": 78_000}[mode]
    adversaries = _draw_adversaries(random, names[:validators], faulty_max, adversary)
    honest = [name for name in names if name not in adversaries]
    frozen: dict[str, str] = {}
    if mode == "liveness":
        for name in random.sample(honest, random.randint(0, faulty_max - len(adversaries))):
            frozen[name] = random.choice(("dead", "cut", "slow"))
    return Plan(
        seed=seed,
        mode=mode,
        validators=validators,
        names=names,
        adversaries=adversaries,
        weather=_draw_weather(random),
        crash_rate=random.choice((0.0, 0.0005, 0.002, 0.004)),
        restart_ms_max=random.choice((300, 3_000)),
        rotate_bytes=random.choice((12_000, 64 * 1024 * 1024)),
        skews_ms={name: random.randint(-200, 200) for name in honest},
        actions=tuple(_draw_actions(random, mode, honest, names, heal_ms)),
        heal_ms=heal_ms,
        end_ms=end_ms,
        frozen=frozen,
    )


def _draw_adversaries(
    random: Random, validators: tuple[str, ...], faulty_max: int, only: str | None
) -> dict[str, str]:
    known = [only] if only is not None else list(known_adversaries())
    is_byzantine = random.random() < 0.5 or only is not None
    if not is_byzantine or not known:
        return {}
    members = random.sample(validators, random.randint(1, faulty_max))
    return {member: random.choice(known) for member in members}


def _draw_weather(random: Random) -> Weather:
    return Weather(
        loss=random.choice((0.0, 0.0, 0.02, 0.1, 0.3)),
        doubled=random.choice((0.0, 0.05)),
        delay_ms=random.choice((2, 20, 60)),
        tail_ms=random.choice((10, 60, 300, 1_500)),
        tail_power=random.choice((2, 4, 8)),
        spares_bulk=random.random() < 0.5,
    )


def _draw_actions(
    random: Random, mode: Mode, honest: list[str], names: tuple[str, ...], heal_ms: int
) -> list[Action]:
    actions: list[Action] = []

    def some(most: int) -> tuple[str, ...]:
        return tuple(random.sample(names, random.randint(1, most)))

    for _ in range(random.choice((0, 1, 2, 3))):
        begin = random.randrange(heal_ms)
        kind = random.choice(("split", "split", "mute"))
        actions.append(Action(begin, kind, some(len(names) - 1)))
        actions.append(Action(min(begin + random.randrange(300, 5_000), heal_ms), "heal"))
    for _ in range(random.choice((0, 1, 2, 4))):
        crashed = random.sample(honest, random.choice((1, 1, 2, len(honest))))
        actions.append(Action(random.randrange(heal_ms), "crash", tuple(crashed)))
    for _ in range(random.choice((0, 0, 1, 2))):
        jump_ms = random.choice((-2_000, -300, 300, 2_000, 3_600_000))
        actions.append(Action(random.randrange(heal_ms), "skew", (random.choice(honest),), jump_ms))
    if random.random() < 0.15:
        until_ms = random.randrange(500, 4_000)
        actions.append(
            Action(random.randrange(heal_ms), "full", (random.choice(honest),), until_ms)
        )
    events = {"safety": 12, "liveness": 8, "epochs": 10}[mode]
    for number in random.sample(range(EVENTS - 1), events):
        place = (random.choice(honest),)
        actions.append(Action(random.randrange(100, heal_ms - 100), "submit", place, number))
    if mode == "epochs":
        at_ms = random.randrange(300, 1_500)
        while at_ms < heal_ms:
            actions.append(Action(at_ms, "change"))
            at_ms += random.randrange(2_500, 5_000)
    return sorted(actions, key=lambda action: action.at_ms)
