"""What the contracts were asked about an event, as a file.

The facts come from the state that the whole log had led to. They are not proven by the entries of a
bundle; the decision that they lead to is, and a replay of the log gives them again.
"""

from typing import Any

import msgspec

from contracts.facts import Act
from ledger.registry import LegalBasis


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The act, the facts of the Cedar context, and the legal basis as it was registered then."""

    act: Act
    facts: dict[str, Any]
    basis: LegalBasis | None


_DECODER = msgspec.json.Decoder(Asked)


def encode_asked(asked: Asked) -> bytes:
    """JSON for people and programs; byte strings are in base64."""
    return encode_json(asked)


def decode_asked(data: bytes) -> Asked:
    """The question of a file. Raises `ValueError` for any other bytes than `encode_asked` makes."""
    asked = _DECODER.decode(data)
    if encode_asked(asked) != data:
        raise ValueError("not the canonical form")
    return asked


def encode_json(value: Any) -> bytes:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
