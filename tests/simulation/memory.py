"""Pure functions of the product remember their results, for runs of many nodes in one process.

Every node decodes the same messages and asks the contracts the same questions. Each function here
depends on nothing but its arguments and returns a frozen value, so a run is the same without it; a
test compares the two. Errors are not remembered.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from typing import Any
from unittest.mock import patch

import cedarpy
from nacl import bindings

from contracts import engine
from ledger import log
from ledger.codec import Codec
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Signature, SignedNote
from node import chain
from node.engine import epochs
from node.engine.cosign import Committee
from node.simplex import core
from tests.simulation import checkers

VALUES_MAX = 16_384


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    return lru_cache(VALUES_MAX)(function)


def _by_identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a first argument that is large and lives as long as the process (a genesis)."""
    known: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def call(first: Any, *rest: Any) -> Any:
        key = (id(first), *rest)
        if key not in known:
            known[key] = (first, function(first, *rest))
        return known[key][1]

    return call


def _asking(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[str, int, int], tuple[Any, ...]] = {}

    def ask(asked: Any, policies: Any, entities: Any) -> Any:
        key = (json.dumps(asked), id(policies), id(entities))
        if key not in known:
            # What the key names by its identity is kept, so that no other takes its place.
            known[key] = (function(asked, policies, entities), policies, entities)
        return known[key][0]

    return ask


@cache
def _patches() -> tuple[Any, ...]:
    """Made once in a process, so that runs share what is remembered."""
    hash_genesis = _by_identity(log.hash_genesis)
    decode_message = _remembering(core.decode_message)
    return (
        patch.object(core, "decode_message", decode_message),
        patch.object(checkers, "decode_message", decode_message),
        patch.object(Codec, "decode", _remembering(Codec.decode)),
        patch.object(Signature, "parse", staticmethod(_remembering(Signature.parse))),
        patch.object(SignedNote, "parse", staticmethod(_remembering(SignedNote.parse))),
        patch.object(Checkpoint, "parse", staticmethod(_remembering(Checkpoint.parse))),
        patch.object(Committee, "of", staticmethod(_by_identity(Committee.of))),
        patch.object(engine.cedarpy, "is_authorized_batch", _asking(cedarpy.is_authorized_batch)),
        patch.object(
            bindings,
            "crypto_core_ed25519_is_valid_point",
            _remembering(bindings.crypto_core_ed25519_is_valid_point),
        ),
        *(patch.object(module, "hash_genesis", hash_genesis) for module in (log, chain, epochs)),
    )


@contextmanager
def remembered() -> Iterator[None]:
    """Results inside are remembered."""
    with ExitStack() as stack:
        for each in _patches():
            stack.enter_context(each)
        yield
