"""The genesis and its founders' signatures from a node, trusted for what the caller knows.

A node may serve anything. What makes its genesis the right one is its hash, the network id, which
the caller got by another way: from hand to hand, or as what its own application was signed for.
"""

from pathlib import Path

from ledger.errors import InvalidFounding, InvalidGenesis
from ledger.genesis import Genesis, decode_genesis_json, hash_genesis
from ledger.quorum.founding import GenesisSignatures, decode_signatures, verify_founders
from tools.client import fetch_genesis, fetch_signatures
from tools.exits import InvalidAnswer, InvalidInput
from tools.governance.applications import read_admission


def is_url(text: str) -> bool:
    """Whether a genesis is to be fetched rather than read."""
    return text.startswith(("http://", "https://"))


async def fetch_founding(
    url: str, *, network: bytes | None, application: Path | None
) -> tuple[Genesis, GenesisSignatures]:
    """Both, verified. `network` or `application` tells which genesis is meant.

    Raises `InvalidInput`, `InvalidAnswer`, `Unreachable`.
    """
    if network is None and application is None:
        raise InvalidInput("genesis-unpinned", url)
    try:
        genesis = decode_genesis_json(await fetch_genesis(url))
    except InvalidGenesis as error:
        raise InvalidAnswer("genesis-invalid", f"{url}: {error}") from None
    found = hash_genesis(genesis)
    if network is not None and found != network:
        raise InvalidAnswer("genesis-other", f"{url}: {found.hex()}, not {network.hex()}")
    if application is not None:
        # Signed for one network by our own keys: for another one it does not verify.
        read_admission(application, found)
    return genesis, await fetch_founders(url, genesis)


async def fetch_founders(url: str, genesis: Genesis) -> GenesisSignatures:
    """Signatures of all founders under this genesis. Raises `InvalidAnswer`, `Unreachable`."""
    try:
        signatures = decode_signatures(await fetch_signatures(url))
        verify_founders(genesis, signatures)
    except InvalidFounding as error:
        raise InvalidAnswer("signatures-invalid", f"{url}: {error}") from None
    return signatures
