"""Signatures of deliveries, as Standard Webhooks has them.

webhook-id:         the CloudEvent's id, the same in every attempt
webhook-timestamp:  seconds since 1970 of this attempt; refuse what is minutes away
webhook-signature:  v1, and base64 of HMAC-SHA-256(secret, id "." timestamp "." body)
"""

import base64
import hashlib
import hmac


def sign_delivery(secret: bytes, *, id_: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a delivery."""
    message = f"{id_}.{timestamp_s}.".encode() + body
    digest = hmac.new(secret, message, hashlib.sha256).digest()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
