"""A record as a CloudEvent 1.0 (CNCF), for webhooks and exports.

`id` is the event's digest, so a receiver that gets one twice knows it; `source` names the network,
`type` the kind with its version, `subject` the exchange, proposal or incident that it belongs to,
`time` is that of the block. `sequence` (the extension of that name) is the index of the record with
leading zeros: it sorts as the log does. `data` holds what the record says; byte strings are in hex.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from ledger.blocks import Outcome
from ledger.events import Event
from ledger.keys import format_public_key

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "tallystick"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout, as the trailing Z says


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The structured mode; `subject` is left out where there is none."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str
    sequence: str
    datacontenttype: str
    data: dict[str, Any]


_ENCODER = msgspec.json.Encoder()


def cloud_event(
    *, network: bytes, index: int, height: int, time_ms: int, event: Event, outcome: Outcome
) -> CloudEvent:
    """The CloudEvent of a record in a block of `height` and `time_ms`."""
    return CloudEvent(
        specversion="1.0",
        id=event.digest.hex(),
        source=f"urn:tallystick:{network.hex()}",
        type=f"{TYPE_PREFIX}.{event.kind}.v{event.kind_version}",
        subject=event.subject.hex() or None,
        time=format_time(time_ms),
        sequence=f"{index:020}",
        datacontenttype="application/json",
        data={
            "index": index,
            "height": height,
            "member": event.member,
            "officer": format_public_key(event.officer),
            "nonce": event.nonce.hex(),
            "body": hex_of(msgspec.to_builtins(event.body, builtin_types=(bytes,))),
            "outcome": hex_of(msgspec.to_builtins(outcome, builtin_types=(bytes,))),
        },
    )


def encode_cloud_event(event: CloudEvent) -> bytes:
    """JSON bytes on one line."""
    return _ENCODER.encode(event)


def hex_of(value: Any) -> Any:
    """A value in whose depth every byte string is lower-case hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [hex_of(item) for item in value]
    if isinstance(value, dict):
        return {name: hex_of(item) for name, item in value.items()}
    return value


def format_time(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds") + "Z"
