"""`tally audit watch` and `tally audit alarm`: raise the alarm on a forked log, and judge one."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.quorum.epochs import EpochChain
from tools.exits import InvalidAnswer, InvalidUsage, Unreachable
from tools.mirror import held, read_genesis
from tools.options import WordCommand, common, option
from tools.output import emit, note, printable, run, run_until_stopped
from tools.words import say

LAST_DELIVERY_S = 20

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("watch", cls=WordCommand, help="help.audit_watch")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@option("--state", type=_FILE, default=Path("watch.json"), show_default=True, help="option.state")
@option("--webhook", default="", help="option.webhook")
@option("--exit-on-alarm", is_flag=True, help="option.exit_on_alarm")
@option("--once", is_flag=True, help="option.look_once")
@option("--genesis", type=_FILE, help="option.genesis")
@common
def watch(
    urls: tuple[str, ...],
    state: Path,
    webhook: str,
    exit_on_alarm: bool,
    once: bool,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Watch nodes."""
    for url in (*urls, *([webhook] if webhook else [])):
        _check_url(url)
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    with held(state):
        task = _watch(
            urls, state, webhook, founding, _teller(as_json), once=once, until_alarm=exit_on_alarm
        )
        if once:
            run(task)
        else:
            run_until_stopped(task)


@click.command("alarm", cls=WordCommand, help="help.audit_alarm")
@click.argument("file", type=_FILE)
@option("--genesis", type=_FILE, required=True, help="option.genesis")
@common
def alarm(file: Path, genesis: Path, as_json: bool) -> None:
    """Judge an alarm offline."""
    from tools.audit.alarms import read_alarm, verify_alarm

    found = read_alarm(file)
    try:
        first, second = verify_alarm(found, read_genesis(genesis))
    except LedgerError as error:
        raise InvalidAnswer("alarm-invalid", f"{file}: {error}") from None
    document = {
        "kind": found.kind,
        "time_ms": found.time_ms,
        "first": found.first.source,
        "first_entries": first.size,
        "second": found.second.source,
        "second_entries": second.size,
    }
    emit(as_json, {"valid": True, **document}, printable(say("audit.alarm", **document)))


async def _watch(
    urls: tuple[str, ...],
    path: Path,
    webhook: str,
    genesis: Genesis | None,
    tell: Callable[..., None],
    *,
    once: bool,
    until_alarm: bool,
) -> None:
    # What talks to nodes takes 0.1 s to load.
    from tools.audit.watch import Watcher, look_on, look_once
    from tools.mirror.live import Live
    from tools.mirror.sources import Sources
    from tools.mirror.update import fetch_any_genesis

    chosen = genesis or await fetch_any_genesis(urls)
    epochs = EpochChain(chosen)
    async with Sources(urls, chosen) as sources:
        watcher = Watcher(sources, epochs, path, tell)
        deliveries = [asyncio.create_task(watcher.deliver(webhook))] if webhook else []
        try:
            for url in watcher.forked:
                tell("forked", url=url, state=path)
            answered = await look_once(watcher, sources, epochs)
            if not once and not (until_alarm and watcher.forked):
                live = Live(sources, on_lost=watcher.lose, on_back=watcher.regain)
                await look_on(watcher, live, until_alarm=until_alarm)
            if webhook and watcher.forked:
                await watcher.wait_delivered(LAST_DELIVERY_S)
        finally:
            for task in deliveries:
                task.cancel()
            await asyncio.gather(*deliveries, return_exceptions=True)
    if watcher.forked:
        raise InvalidAnswer("log-forked", ", ".join(watcher.forked))
    if once and watcher.doubted:
        raise InvalidAnswer("watch-doubted", ", ".join(watcher.doubted))
    if not answered:
        raise Unreachable("unreachable", ", ".join(urls))


def _check_url(text: str) -> None:
    """A webhook is needed when an alarm is raised; whether it can be one is told before."""
    try:
        url = urlsplit(text)
        is_usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise InvalidUsage("url-invalid", text)


def _teller(as_json: bool) -> Callable[..., None]:
    """Prints one line for each thing that happens, at once."""

    def tell(event: str, **values: object) -> None:
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if as_json:
            texts = {
                name: value if isinstance(value, int) else str(value)
                for name, value in values.items()
            }
            click.echo(msgspec.json.encode({"time": time, "event": event, **texts}))
        else:
            click.echo(f"{time} {printable(say(f'watch.{event}', **values))}")

    return tell
