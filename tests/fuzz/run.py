"""Make up requests from `/openapi.json` and judge the answers: `python -m tests.fuzz.run --help`.

A node of one (`MemoryService`: production code without peers) is served on a loopback port with a
few exchanges, a proposal and an incident on its log. Schemathesis reads its document and sends what
the document allows and what it does not; each answer must be one that the document names. The exit
code is that of Schemathesis, and its output repeats a failure by its seed.
"""

import asyncio
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from node.api.openapi import Route
from node.api.routes import ROUTES
from tests.builders import add_validator, deliver, propose, request
from tests.exchanges import report
from tests.unit.node.api.harness import Served, served

# These stay open, or are on the other listener.
LEFT_OUT = ("submitStream", "streamBlocks", "readMetrics")
SETTINGS = Path(__file__).with_name("schemathesis.toml")
UNDERSTOOD = "positive_data_acceptance"


async def fill(node: Served) -> None:
    """Something to be read under every prefix."""
    opened = request(label="fuzz")
    for event in (
        opened,
        deliver(opened),
        propose(add_validator("de-tax")),
        report(opened),
    ):
        await node.submit(event.data)
    node.service.sign_checkpoint()


@contextmanager
def serving() -> Iterator[str]:
    """URL of a filled node that runs on a thread of its own."""
    started: list[str] = []
    is_ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main(folder: Path) -> None:
        async with served(folder) as node:
            await fill(node)
            started.append("http://{}:{}".format(*node.address))
            is_ready.set()
            await stop.wait()

    def serve() -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                loop.run_until_complete(main(Path(folder)))
        finally:
            is_ready.set()
            loop.close()

    thread = threading.Thread(target=serve, name="served")
    thread.start()
    is_ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def fuzz(url: str, *, examples: int, seed: int) -> list[subprocess.CompletedProcess[str]]:
    """Run Schemathesis against a node: all requests, then those that must be understood."""
    asked = [name for name in names() if name not in LEFT_OUT]
    understood = [route.name for route in ROUTES if route.name in asked and is_understood(route)]
    return [
        _run(url, asked, examples, seed, "--exclude-checks", UNDERSTOOD),
        _run(
            url, understood, examples, seed,
            "--checks", UNDERSTOOD, "--mode", "positive", "--phases", "fuzzing",
        ),
    ]  # fmt: skip


def names() -> list[str]:
    """Names of all routes."""
    return [route.name for route in ROUTES]


def is_understood(route: Route) -> bool:
    """Whether the document alone says what is valid: not of signed events and of cursors."""
    return not route.takes and all(each.name != "cursor" for each in route.parameters)


def _run(
    url: str, routes: list[str], examples: int, seed: int, *options: str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS),
        "run", f"{url}/openapi.json",
        "--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "40",
        "--no-color", "--continue-on-failure", "--warnings", "off",
        "--suppress-health-check", "all", *options,
    ]  # fmt: skip
    for name in routes:
        command += ["--include-operation-id", name]
    with tempfile.TemporaryDirectory() as folder:  # for what Schemathesis keeps between runs
        return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@click.command()
@click.option("--examples", default=1_000, show_default=True, help="requests for each operation")
@click.option("--seed", default=1, show_default=True)
def main(examples: int, seed: int) -> None:
    """Fuzz the interface of a node."""
    with serving() as url:
        runs = fuzz(url, examples=examples, seed=seed)
    for done in runs:
        click.echo(done.stdout + done.stderr)
    sys.exit(max(done.returncode for done in runs))


if __name__ == "__main__":
    main()
