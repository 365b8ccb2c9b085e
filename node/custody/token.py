"""Keys of a node on PKCS#11 tokens: found by URI, logged in to with a PIN, never taken out.

The library of the token is the URI's `module-path`, else `TALLYSTICK_PKCS11_MODULE`. The module
`pkcs11` comes with the extra `hsm`. Each signature is checked before it is used: a vote with a bad
one would be lost without anybody being told.

A token signs in the place of the event loop, one signature after the other: how fast it is bounds
how fast this node votes.
"""

import importlib
import os
from pathlib import Path
from typing import Any

from ledger.custody.token_uri import TokenUri, decode_point, parse_token_uri
from ledger.errors import InvalidKey, InvalidSignature, InvalidTokenUri
from ledger.keys import ED25519, verify_raw
from node.errors import StartRefused, TokenFailed

MODULE_VARIABLE = "TALLYSTICK_PKCS11_MODULE"


class TokenKey:
    """A key on a token, with an open session."""

    def __init__(self, pkcs11: Any, name: str, public: bytes, key: Any) -> None:
        self.public = public
        self._pkcs11 = pkcs11
        self._name = name
        self._key = key

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Signature (65 bytes) over `domain || message`. Raises `TokenFailed`."""
        return bytes([ED25519]) + self.sign_raw(domain + message)

    def sign_raw(self, message: bytes) -> bytes:
        """Raw Ed25519 signature (64 bytes) over exactly `message`. Raises `TokenFailed`."""
        try:
            raw = bytes(self._key.sign(message, mechanism=self._pkcs11.Mechanism.EDDSA))
            verify_raw(self.public[1:], message, raw)
        except RuntimeError as error:  # root of what the module raises
            text = f"{type(error).__name__} {error}".strip()
            raise TokenFailed(f"the token of the {self._name} key failed: {text}") from None
        except (InvalidKey, InvalidSignature):
            raise TokenFailed(f"the token signs wrongly with the {self._name} key") from None
        return raw


def open_token(reference: str, name: str, pin: str) -> TokenKey:
    """The key of a URI in `[keys] name`. Raises `StartRefused`."""
    setting = f"[keys] {name}"
    try:
        uri = parse_token_uri(reference)
    except InvalidTokenUri as error:
        if error.has_pin:
            raise StartRefused("start-token-pin-inside", setting=setting) from None
        raise StartRefused("start-token-uri", setting=setting, reason=error) from None
    try:
        pkcs11: Any = importlib.import_module("pkcs11")
    except ImportError:
        raise StartRefused("start-token-extra", setting=setting) from None
    try:
        return _open(pkcs11, uri, name, pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        reason = type(error).__name__
        raise StartRefused("start-token-pin-wrong", setting=setting, reason=reason) from None
    except (pkcs11.PinLocked, pkcs11.PinExpired) as error:
        reason = type(error).__name__
        raise StartRefused("start-token-pin-dead", setting=setting, reason=reason) from None
    except RuntimeError as error:
        reason = f"{type(error).__name__} {error}".strip()
        raise StartRefused("start-token-failed", setting=setting, reason=reason) from None


def _open(pkcs11: Any, uri: TokenUri, name: str, pin: str) -> TokenKey:
    setting, path = f"[keys] {name}", uri.module_path or os.environ.get(MODULE_VARIABLE)
    if not path:
        raise StartRefused("start-token-library-unset", setting=setting, variable=MODULE_VARIABLE)
    if not Path(path).is_file():
        raise StartRefused(
            "start-token-library", setting=setting, path=path, variable=MODULE_VARIABLE
        )
    token = _find_token(pkcs11.lib(path), uri, name)
    try:
        session = token.open(user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        session = token.open()
    kinds = pkcs11.ObjectClass
    private = _one(pkcs11, session, uri, kinds.PRIVATE_KEY, name)
    point = bytes(_one(pkcs11, session, uri, kinds.PUBLIC_KEY, name)[pkcs11.Attribute.EC_POINT])
    return TokenKey(pkcs11, name, bytes([ED25519]) + decode_point(point), private)


def _find_token(library: Any, uri: TokenUri, name: str) -> Any:
    found = []
    for slot in library.get_slots(token_present=True):
        token = slot.get_token()
        if uri.is_like(token):
            found.append(token)
    if len(found) != 1:
        raise StartRefused(
            "start-token-count", setting=f"[keys] {name}", count=len(found), uri=str(uri)
        )
    return found[0]


def _one(pkcs11: Any, session: Any, uri: TokenUri, kind: Any, name: str) -> Any:
    keys = list(session.get_objects(uri.template(pkcs11, kind)))
    if len(keys) != 1:
        raise StartRefused(
            "start-token-keys", setting=f"[keys] {name}", count=len(keys), uri=str(uri)
        )
    return keys[0]
