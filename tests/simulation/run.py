"""Run many seeds on all processors: `python -m tests.simulation.run --help`.

A failure prints one line that repeats it, and the exit code is 1.
"""

import gc
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import click

from tests.simulation.byzantine import known_adversaries
from tests.simulation.plan import MODES, Mode, make_plan
from tests.simulation.simulator import Result, reproduce, run_plan

GARBAGE_EVERY = 16
SLOWEST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that does not hold."""

    seed: int
    line: str


@dataclass(slots=True)
class Summary:
    """Totals of many runs."""

    runs: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    healed: list[tuple[int, int]] = field(default_factory=list)  # milliseconds, seed
    longest: tuple[int, int] = (0, 0)
    adversaries: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count a run."""
        self.runs += 1
        for name in ("frames", "crashes", "epochs", "events", "blocks", "nullified"):
            self.totals[name] += getattr(result, name)
        if result.healed_ms is not None:
            self.healed.append((result.healed_ms, result.seed))
        self.longest = max(self.longest, (result.stall_ms, result.seed))
        self.adversaries.update(result.adversaries)

    def lines(self) -> Iterator[str]:
        """For people."""
        counted = ", ".join(f"{count:,} {name}" for name, count in self.totals.items())
        longest_ms, seed = self.longest
        yield f"{self.runs:,} seeds: {counted}; longest stall {longest_ms:,} ms (seed {seed})"
        if self.adversaries:
            yield "adversaries: " + ", ".join(
                f"{name} {count:,}" for name, count in sorted(self.adversaries.items())
            )
        if self.healed:
            self.healed.sort()
            shares = ", ".join(
                f"{share} % {self.healed[(len(self.healed) - 1) * share // 100][0]:,} ms"
                for share in (50, 90, 99, 100)
            )
            slowest = ", ".join(f"{at} ({ms} ms)" for ms, at in self.healed[-SLOWEST_SHOWN:])
            yield f"from healing to the next finality: {shares}; slowest seeds {slowest}"


def _work(seed: int, *, mode: Mode, adversary: str | None, is_real: bool) -> Result | Failure:
    # A world is one knot of references; collecting inside a run only costs time.
    gc.disable()
    if seed % GARBAGE_EVERY == 0:
        gc.collect()
    plan = make_plan(seed, mode, adversary=adversary)
    try:
        return run_plan(plan, is_real=is_real)
    except Exception as error:
        extra = (f" --adversary {adversary}" if adversary else "") + (" --real" * is_real)
        what = " ".join(str(error).split())
        return Failure(seed, f"{reproduce(plan)}{extra}  # {type(error).__name__}: {what}")


@click.command(help=__doc__)
@click.option("--seeds", default=100, show_default=True, help="how many")
@click.option("--first", default=0, show_default=True, help="the first one")
@click.option("--mode", type=click.Choice(MODES), default="safety", show_default=True)
@click.option("--jobs", default=0, help="processes; 0: one for each processor")
@click.option(
    "--adversary",
    type=click.Choice(list(known_adversaries())),
    default=None,
    help="this one takes part in every run (else drawn ones in half of them)",
)
@click.option("--real", is_flag=True, help="sign and verify with Ed25519, nothing shared")
@click.option("--keep-going", is_flag=True, help="do not stop at the first failure")
@click.option("--transcripts", is_flag=True, help="print the hash of each run")
def main(
    *,
    seeds: int,
    first: int,
    mode: Mode,
    jobs: int,
    adversary: str | None,
    real: bool,
    keep_going: bool,
    transcripts: bool,
) -> None:
    work = partial(_work, mode=mode, adversary=adversary, is_real=real)
    wanted = range(first, first + seeds)
    jobs = min(jobs or multiprocessing.cpu_count(), seeds)
    summary, failures = Summary(), 0
    with multiprocessing.Pool(jobs) as pool:
        results = pool.imap(work, wanted, chunksize=1) if jobs > 1 else map(work, wanted)
        is_shown = sys.stderr.isatty()
        with click.progressbar(
            results,
            length=seeds,
            show_eta=True,
            show_pos=True,
            file=sys.stderr,
            label=mode,
            item_show_func=None,
            hidden=not is_shown,
        ) as shown:
            for result in shown:
                if isinstance(result, Failure):
                    failures += 1
                    click.echo(result.line)
                    if not keep_going:
                        break
                    continue
                summary.add(result)
                if transcripts:
                    click.echo(f"{result.seed} {result.transcript}")
    for line in summary.lines():
        click.echo(line)
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
