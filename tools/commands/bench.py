"""`tally bench`: a network of real processes, whole exchanges with their data, sealing, replay."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tools.exits import InvalidInput, ToolError
from tools.options import WordCommand, common, option
from tools.output import Bar, emit, progress, run
from tools.words import say

# More in one direction than the contract on reciprocity lets pass would wait for an approver.
EXCHANGES_IN_FLIGHT_MAX = 48
WHATS = ("network", "sealing", "exchange", "payload", "audit", "what-if")


@click.command(cls=WordCommand, help="help.bench")
@click.argument("what", type=click.Choice(WHATS), default="network")
@option("--nodes", type=click.IntRange(4, 30), default=4, show_default=True, help="option.nodes")
@option(
    "--size",
    "size_bytes",
    type=click.IntRange(256, 7_000),
    default=1_024,
    show_default=True,
    help="option.size_bytes",
)
@option(
    "--in-flight",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="option.in_flight",
)
@option(
    "--events",
    type=click.IntRange(50, 1_000_000),
    default=20_000,
    show_default=True,
    help="option.events",
)
@option("--kill", type=click.Choice(["leader", "follower"]), help="option.kill")
@option("--absent", is_flag=True, help="option.absent")
@option("--wan", default="0ms", show_default=True, help="option.wan")
@option(
    "--submit",
    type=click.Choice(["single", "batch", "stream"]),
    default="stream",
    show_default=True,
    help="option.submit",
)
@option(
    "--megabytes",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="option.megabytes",
)
@option(
    "--exchanges",
    type=click.IntRange(10, 1_000_000),
    default=1_000,
    show_default=True,
    help="option.exchanges",
)
@option(
    "--records",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="option.exchange_records",
)
@option(
    "--entries",
    type=click.IntRange(1_000, 10_000_000),
    default=200_000,
    show_default=True,
    help="option.bench_entries",
)
@option(
    "--requests",
    type=click.IntRange(100, 1_000_000),
    default=10_000,
    show_default=True,
    help="option.bench_requests",
)
@option("--cache", type=click.Path(path_type=Path, file_okay=False), help="option.bench_cache")
@option("--jobs", type=click.IntRange(2, 256), default=2, show_default=True, help="option.jobs")
@common
def command(
    as_json: bool,
    what: str,
    megabytes: int,
    exchanges: int,
    records: int,
    entries: int,
    requests: int,
    cache: Path | None,
    jobs: int,
    **values: Any,
) -> None:
    """Measure and print."""
    if what == "network":
        _measure_network(as_json, **values)
        return
    if what == "audit":
        _measure_audit(as_json, entries, cache, jobs)
        return
    if what == "what-if":
        _measure_what_if(as_json, requests, cache, jobs)
        return
    if what == "exchange":
        in_flight = min(values["in_flight"], EXCHANGES_IN_FLIGHT_MAX)
        _measure_exchanges(as_json, exchanges=exchanges, records=records, in_flight=in_flight)
        return
    if what == "payload":
        _measure_payload(as_json, megabytes)
        return
    from tools.bench.sealing import measure_sealing

    figures = measure_sealing(megabytes)
    emit(as_json, figures, say("bench.sealing", **figures))


@contextmanager
def _measuring(key: str) -> Iterator[tuple[Path, Bar]]:
    """A folder for the time of a measurement, and its bar. Of several errors the first ends it."""
    with progress(key) as bar, tempfile.TemporaryDirectory(prefix="tally-") as directory:
        try:
            yield Path(directory), bar
        except ExceptionGroup as failures:
            raise _first(failures) from None


def _measure_audit(as_json: bool, entries: int, cache: Path | None, jobs: int) -> None:
    from tools.bench.audit import measure_audit

    with _measuring("bench.making") as (directory, bar):
        figures = measure_audit(cache or directory, entries, jobs, bar)
    emit(as_json, figures, say("bench.audit", **figures))


def _measure_what_if(as_json: bool, requests: int, cache: Path | None, jobs: int) -> None:
    from tools.bench.whatif import measure_what_if

    with _measuring("bench.making") as (directory, bar):
        figures = measure_what_if(cache or directory, requests, jobs, bar)
    emit(as_json, figures, say("bench.what_if", **figures))


def _measure_network(as_json: bool, *, wan: str, absent: bool, **values: Any) -> None:
    from tools.bench.absent import measure_absence
    from tools.bench.load import Plan, measure

    digits = wan.removesuffix("ms")
    if not (digits.isascii() and digits.isdigit() and int(digits) <= 10_000):
        raise InvalidInput("delay-invalid", wan)
    plan = Plan(wan_ms=int(digits), **values)
    with _measuring("bench.running") as (directory, bar):
        if absent:
            figures = measure_absence(directory / "net", plan.events, bar)
        else:
            figures = run(measure(plan, directory / "net", bar))
    emit(as_json, figures, say("bench.absent" if absent else "bench.result", **_flat(figures)))


def _measure_exchanges(as_json: bool, **values: int) -> None:
    from tools.bench.exchange import measure_exchanges

    with _measuring("bench.running") as (directory, bar):
        figures = run(measure_exchanges(directory / "net", bar=bar, **values))
    emit(as_json, figures, say("bench.exchange", **_flat(figures)))


def _measure_payload(as_json: bool, megabytes: int) -> None:
    from tools.bench.payload import measure_payload

    with _measuring("bench.making_records") as (directory, bar):
        figures = run(measure_payload(directory / "net", megabytes=megabytes, bar=bar))
    emit(as_json, figures, say("bench.payload", **_flat(figures)))


def _flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures for a sentence: those inside a group are named `group_figure`."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        inner = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name}_{key}": each for key, each in inner} or {name: value}
    return flat


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the run: a `ToolError` where there is one."""
    flat: list[BaseException] = []
    left: list[BaseException] = [failures]
    while left:
        error = left.pop(0)
        if isinstance(error, BaseExceptionGroup):
            left.extend(error.exceptions)
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, ToolError)), flat[0])
