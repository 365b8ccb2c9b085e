"""What all bodies share. One struct is one JSON shape and one schema of `/openapi.json`.

Byte strings are lower-case hex, except signed events, which are base64 as in the request.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ledger.export.cloudevents import hex_of

_ENCODER = msgspec.json.Encoder()
B = TypeVar("B", bound="Body")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every response body."""


def encode_json(body: Body) -> bytes:
    """JSON bytes of a body."""
    return _ENCODER.encode(body)


def shape_of(body_type: type[B]) -> Callable[[msgspec.Struct], B]:
    """How a registry value without byte strings becomes a body with the same fields."""
    return lambda value: msgspec.convert(fields_of(value), body_type)


def fields_of(value: msgspec.Struct) -> dict[str, Any]:
    """Fields by name, as JSON takes them."""
    fields = msgspec.to_builtins(value, builtin_types=(bytes,))
    return {name: hex_of(field) for name, field in fields.items()}
