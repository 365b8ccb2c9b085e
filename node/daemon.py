"""The daemon: one composition root, one task group, a clean stop on SIGTERM or SIGINT.

The first failure of any part ends the process with a non-zero code; nothing goes on half-dead.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from contracts.words import LANGUAGES, Language
from ledger.errors import CorruptStore, LedgerError, StoreFailed
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import format_public_key
from ledger.quorum.founding import encode_signatures
from ledger.storage import Store, open_store
from node.activation import STORE, WAL, activate, is_untouched, verify_activation
from node.api.context import Limits
from node.api.server import Listening, build_app, tls_context
from node.api.server import run as run_api
from node.config import Config, read_config
from node.engine.compose import Parts, compose
from node.engine.ports import Threads
from node.errors import InvalidConfig, NodeError, StartRefused, system_refused
from node.node import Node
from node.simplex.errors import CorruptWal, SimplexError, WalFailed
from node.startup import (
    Identity,
    lock_data_dir,
    read_genesis,
    read_identity,
    read_signatures,
)
from node.words import EXIT_FAILED, Refusal, refuse, refuse_as_json

LOG = structlog.get_logger("daemon")
PROGRAM = "tally node"


async def serve(
    config: Config, genesis: Genesis, founders: bytes, identity: Identity, store: Store
) -> None:
    """Run until SIGTERM or SIGINT; raises what made a part fail."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with (
        ThreadPoolExecutor(2, thread_name_prefix="worker") as workers,
        # Its own: a vote never waits behind signatures of events.
        ThreadPoolExecutor(1, thread_name_prefix="disk") as disk,
    ):
        parts = compose(
            config,
            genesis,
            identity,
            store,
            wal_dir=config.path("node", "data_dir") / WAL,
            workers=Threads(workers),
            disk=Threads(disk),
        )
        node, driver, links = parts.node, parts.driver, parts.links
        await links.listen()
        parts.access.start()
        try:
            await _first_of(
                [
                    asyncio.create_task(driver.run(parts.records), name="driver"),
                    asyncio.create_task(links.run(), name="links"),
                    asyncio.create_task(_serve_api(config, node, founders, parts), name="api"),
                    asyncio.create_task(parts.anchors.run(), name="anchors"),
                    asyncio.create_task(parts.hooks.run(node), name="hooks"),
                    asyncio.create_task(_until(stop), name="stop"),
                ]
            )
        finally:
            await links.close()
            driver.close()
            parts.access.close()
    LOG.info("node stopped", height=node.status().height)


async def _serve_api(config: Config, node: Node, founders: bytes, parts: Parts) -> None:
    """The API and metrics listeners. Raises `StartRefused` when they cannot be opened."""
    limits = Limits(connections_max=config["limits", "connections_max"])
    api, figures = config["api", "listen"], config["metrics", "listen"]

    def on_listening(listening: Listening) -> None:
        LOG.info(
            "node started",
            member=config["node", "member"],
            network=node.network.hex(),
            height=node.status().height,
            api="{}:{}".format(*listening.api),
            metrics="{}:{}".format(*listening.metrics),
        )

    tls = _api_tls(config) if config["api", "tls_certificate"] else None
    await run_api(
        build_app(
            node,
            limits,
            parts.metrics,
            founders=founders,
            access=parts.access,
            hooks=parts.hooks,
        ),
        api=(api.host, api.port),
        metrics=(figures.host, figures.port),
        tls=tls,
        on_listening=on_listening,
    )


def _api_tls(config: Config) -> ssl.SSLContext:
    certificate, key = config.path("api", "tls_certificate"), config.path("api", "tls_key")
    try:
        return tls_context(certificate, key)
    except OSError as error:  # as `ssl.SSLError` is
        raise StartRefused(
            "start-api-tls", certificate=certificate, key=key, reason=error
        ) from None


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _first_of(tasks: "list[asyncio.Task[None]]") -> None:
    """Wait until one ends, cancel the others, raise what any of them raised."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def activate_key(config_path: Path, language: Language = "en") -> int:
    """Bind the consensus key to this machine; prints one JSON document. Returns the exit code."""
    try:
        config = read_config(config_path)
    except InvalidConfig as error:
        return refuse_as_json(error, language)
    data_dir = config.path("node", "data_dir")
    try:
        genesis = read_genesis(config)
        read_signatures(config, genesis)
        identity = read_identity(config, genesis)
        key = identity.consensus.public
        lock = lock_data_dir(data_dir)
        outcome = activate(data_dir, network=hash_genesis(genesis), consensus_key=key)
        os.close(lock)
    except (NodeError, LedgerError, SimplexError, OSError) as error:
        return refuse_as_json(_refusal(error, data_dir), language)
    document = {
        "outcome": outcome,
        "member": identity.member,
        "network": hash_genesis(genesis).hex(),
        "consensus_key": format_public_key(key),
    }
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


def run(config_path: Path, language: Language = "en", *, is_first_start: bool = False) -> int:
    """Start a node and return its exit code. A first start activates the key by itself."""
    try:
        config = read_config(config_path)
    except InvalidConfig as error:
        return refuse(PROGRAM, error, language)
    configure_logging(config)
    data_dir = config.path("node", "data_dir")
    try:
        genesis = read_genesis(config)
        founders = encode_signatures(read_signatures(config, genesis))
        identity = read_identity(config, genesis)
        lock = lock_data_dir(data_dir)
        place = {"network": hash_genesis(genesis), "consensus_key": identity.consensus.public}
        if is_first_start and is_untouched(data_dir):
            activate(data_dir, **place)
        verify_activation(data_dir, **place)
        store = open_store(data_dir / STORE, config["node", "storage"])
    except (NodeError, LedgerError, SimplexError, OSError) as error:
        return refuse(PROGRAM, _refusal(error, data_dir), language)
    try:
        run_loop(serve(config, genesis, founders, identity, store))
    except (StartRefused, InvalidConfig, CorruptStore, CorruptWal) as error:
        return refuse(PROGRAM, _refusal(error, data_dir), language)
    except (StoreFailed, WalFailed, OSError) as error:
        LOG.critical(
            "storage failed; the node stops, everything final is kept",
            error=str(error),
            advice="free disk space or repair the disk, then start the node again",
        )
        return EXIT_FAILED
    except (SimplexError, LedgerError, NodeError) as error:
        LOG.critical("the node stops", error=str(error), kind=type(error).__name__)
        return EXIT_FAILED
    finally:
        store.close()
        os.close(lock)
    return 0


def run_loop(main: Coroutine[object, object, None]) -> None:
    """Run a program in the fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def _refusal(error: Exception, data_dir: Path) -> Refusal:
    """What keeps a node from starting, as that which has words."""
    if isinstance(error, StartRefused | InvalidConfig):
        return error
    if isinstance(error, CorruptStore):
        return StartRefused(
            "start-store-damaged", reason=error, store=data_dir / STORE, wal=data_dir / WAL
        )
    if isinstance(error, CorruptWal):
        return StartRefused("start-votes-damaged", path=data_dir / WAL, reason=error)
    if isinstance(error, SimplexError):
        return StartRefused("start-votes-unusable", path=data_dir / WAL, reason=error)
    if isinstance(error, LedgerError):
        return StartRefused("start-store-unusable", reason=error)
    return system_refused(error)


def configure_logging(config: Config) -> None:
    """Structured lines on the standard error, as `[logging]` says."""
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if config["logging", "format"] == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[config["logging", "level"]]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> int:
    """Entry point of `python -m node`."""
    parser = argparse.ArgumentParser(prog="python -m node", description="Run a Tallystick node.")
    parser.add_argument("--config", type=Path, required=True, help="path of node.toml")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the texts")
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--activate", action="store_true", help="activate the consensus key and end")
    step.add_argument(
        "--first-start",
        action="store_true",
        help="activate the key if the data directory is untouched: for networks on one machine",
    )
    arguments = parser.parse_args()
    if not __debug__:
        return refuse(PROGRAM, StartRefused("start-optimized"), arguments.lang)
    if arguments.activate:
        return activate_key(arguments.config, arguments.lang)
    return run(arguments.config, arguments.lang, is_first_start=arguments.first_start)
