"""What nodes say that they run, in two headers of the request that opens a link.

Nothing depends on it but warnings: what a peer says of itself is not believed for anything else.
"""

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.engine import ENGINE_VERSION

VERSION_HEADER = "X-Tallystick-Version"
ENGINE_HEADER = "X-Tallystick-Engine"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """Version of Tallystick and of the contract engine; a network decides with one engine."""

    version: str
    engine: str

    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        return {VERSION_HEADER: self.version, ENGINE_HEADER: self.engine}


def own_software() -> Software:
    """What this process runs."""
    return Software(version=importlib.metadata.version("tallystick"), engine=ENGINE_VERSION)


def read_software(headers: Mapping[str, str]) -> Software | None:
    """What a peer says in its headers, or None: it says nothing, or nothing that can be read."""
    version, engine = headers.get(VERSION_HEADER, ""), headers.get(ENGINE_HEADER, "")
    if _NAME.match(version) is None or _NAME.match(engine) is None:
        return None
    return Software(version=version, engine=engine)
