r"""URI of a key on a PKCS#11 token (RFC 7512).

    pkcs11:token=tally;object=admin?module-path=/usr/lib/softhsm/libsofthsm2.so

Path attributes: `token`, `object`, `id`, `serial`, `manufacturer`, `model`, `type` (private, if
given). Query attributes: `module-path`. A PIN never stands in a URI, since others can read the
arguments of a process and its configuration: `pin-value` and `pin-source` are refused.
"""

import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from ledger.errors import InvalidTokenUri

SCHEME = "pkcs11:"
URI_CHARS_MAX = 1_024
# An octet string of 32 bytes, in DER.
_POINT_HEAD = b"\x04\x20"
_ATTRIBUTE = re.compile(r"([a-z-]+)=((?:[A-Za-z0-9._~:\[\]@!$'()*+,&/-]|%[0-9A-Fa-f]{2})*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """What a URI says of a key; None: nothing."""

    token: str | None = None
    object: str | None = None
    id: bytes | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    module_path: str | None = None

    def is_like(self, token: Any) -> bool:
        """Whether a token, as the module `pkcs11` describes it, is one that the URI means."""
        pairs = (
            (self.token, token.label),
            (self.serial, _text(token.serial)),
            (self.manufacturer, _text(token.manufacturer_id)),
            (self.model, _text(token.model)),
        )
        return bool(token.label) and all(wanted in (None, has) for wanted, has in pairs)

    def template(self, pkcs11: Any, kind: Any) -> dict[Any, Any]:
        """What an Ed25519 key of that kind (public or private) must have, for a search."""
        attribute = pkcs11.Attribute
        template = {attribute.CLASS: kind, attribute.KEY_TYPE: pkcs11.KeyType.EC_EDWARDS}
        if self.object is not None:
            template[attribute.LABEL] = self.object
        if self.id is not None:
            template[attribute.ID] = self.id
        return template

    def __str__(self) -> str:
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name != "module_path":
                # RFC 7512 wants each byte of an id escaped.
                shown = (
                    "".join(f"%{byte:02x}" for byte in value)
                    if isinstance(value, bytes)
                    else quote(value, safe="")
                )
                parts.append(f"{field.name}={shown}")
        query = f"?module-path={quote(self.module_path, safe='/')}" if self.module_path else ""
        return SCHEME + ";".join(parts) + query


def decode_point(point: bytes) -> bytes:
    """Raw public key of an EC_POINT, in DER or bare (both are in use). Its size is not checked."""
    return point.removeprefix(_POINT_HEAD) if len(point) == 34 else point


def _text(value: object) -> str:
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value)


def is_token_uri(text: str) -> bool:
    """Whether a text is meant to name a key on a token."""
    return text.startswith(SCHEME)


def parse_token_uri(text: str) -> TokenUri:
    """The parts of a `pkcs11:` URI. Raises `InvalidTokenUri`, which never quotes the query."""
    path, has_query, query = text.removeprefix(SCHEME).partition("?")
    if len(text) > URI_CHARS_MAX or not path or (has_query and not query):
        raise InvalidTokenUri(_shown(text))
    found: dict[str, Any] = {}
    known = {field.name for field in fields(TokenUri)} - {"module_path"}
    for part in path.split(";"):
        _take(found, part, known | {"type"}, text)
    for part in query.split("&") if query else ():
        _take(found, part, {"module_path", "pin_value", "pin_source"}, text)
    if {"pin_value", "pin_source"} & found.keys():
        raise InvalidTokenUri(_shown(text), has_pin=True)
    if found.pop("type", "private") != "private":
        raise InvalidTokenUri("type")
    return TokenUri(**found)


def _take(found: dict[str, Any], part: str, known: set[str], text: str) -> None:
    match = _ATTRIBUTE.fullmatch(part)
    name = match[1].replace("-", "_") if match else ""
    if match is None or name not in known or name in found:
        raise InvalidTokenUri(_shown(text))
    raw = unquote_to_bytes(match[2])
    try:
        found[name] = raw if name == "id" else raw.decode()
    except UnicodeDecodeError:
        raise InvalidTokenUri(f"{name}: UTF-8") from None


def _shown(text: str) -> str:
    """A URI for a message, without its query, in which a PIN may stand."""
    return text.partition("?")[0][:200]
