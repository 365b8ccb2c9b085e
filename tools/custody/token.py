"""Ed25519 keys on PKCS#11 tokens: found by URI, used, made; never taken out.

URIs are those of `ledger.custody.token_uri`.

The library of the token is the URI's `module-path`, else `TALLYSTICK_PKCS11_MODULE`, else the first
of `MODULES` that is there. The module `pkcs11` comes with the extra `hsm`.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ledger.custody.token_uri import TokenUri, decode_point, parse_token_uri
from ledger.errors import InvalidKey, InvalidSignature, InvalidTokenUri
from ledger.keys import ED25519, verify_signature
from tools.custody.passphrase import Ways, read_passphrase
from tools.exits import InvalidInput, NotFound, ToolError

MODULE_VARIABLE = "TALLYSTICK_PKCS11_MODULE"
MODULES = (
    "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib/aarch64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib64/p11-kit-proxy.so",
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
)
# Named curve edwards25519 (RFC 8410), in DER.
_CURVE = bytes.fromhex("06032b6570")


def parse_uri(text: str) -> TokenUri:
    """The parts of a `pkcs11:` URI. Raises `InvalidInput`."""
    try:
        return parse_token_uri(text)
    except InvalidTokenUri as error:
        if error.has_pin:
            raise InvalidInput("token-pin-in-uri", str(error)) from None
        raise InvalidInput("token-uri-invalid", str(error)) from None


class TokenSigner:
    """A key on a token, with an open session."""

    def __init__(self, uri: TokenUri, public: bytes, key: Any) -> None:
        self.public = public
        self._uri = uri
        self._key = key

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Signature (65 bytes) over `domain || message`, checked. Raises `ToolError`."""
        with _faults() as pkcs11:
            raw = bytes(self._key.sign(domain + message, mechanism=pkcs11.Mechanism.EDDSA))
        signature = bytes([ED25519]) + raw
        try:
            verify_signature(self.public, domain, message, signature)
        except (InvalidKey, InvalidSignature) as error:
            raise ToolError("token-failed", f"{self._uri}: {error}") from None
        return signature


def find_public_key(reference: str) -> bytes:
    """Public key (33 bytes) of the one key that a URI names; needs no PIN. Raises `ToolError`."""
    uri = parse_uri(reference)
    with _faults() as pkcs11, _find_token(pkcs11, uri).open() as session:
        return _public_bytes(pkcs11, _one(pkcs11, uri, session, pkcs11.ObjectClass.PUBLIC_KEY))


def open_token(reference: str, ways: Ways) -> TokenSigner:
    """The signer of a URI. The PIN is asked for once: tokens lock after a few wrong ones.

    The session ends with the command. Raises `InvalidInput`, `ToolError`.
    """
    uri = parse_uri(reference)
    public = find_public_key(reference)
    with _faults() as pkcs11:
        token = _find_token(pkcs11, uri)
        session = token.open()
        # Seen only after a login, which holds for the whole process: another key may have done it.
        if not list(session.get_objects(uri.template(pkcs11, pkcs11.ObjectClass.PRIVATE_KEY))):
            session.close()
            session = _login(pkcs11, token, uri, ways)
        context = click.get_current_context(silent=True)
        if context is not None:
            context.find_root().call_on_close(session.close)
        key = _one(pkcs11, uri, session, pkcs11.ObjectClass.PRIVATE_KEY)
    return TokenSigner(uri, public, key)


def generate_on_token(reference: str, ways: Ways) -> bytes:
    """Make a key that cannot leave the token; its public key. Raises `InvalidInput`."""
    uri = parse_uri(reference)
    if not uri.object:
        raise InvalidInput("token-uri-invalid", f"{uri}: object=")
    with _faults() as pkcs11:
        attribute, token = pkcs11.Attribute, _find_token(pkcs11, uri)
        with token.open() as session:
            template = uri.template(pkcs11, pkcs11.ObjectClass.PUBLIC_KEY)
            if list(session.get_objects(template)):
                raise InvalidInput("token-key-exists", str(uri))
        with _login(pkcs11, token, uri, ways, rw=True) as session:
            curve = session.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS, {attribute.EC_PARAMS: _CURVE}, local=True
            )
            public, _ = curve.generate_keypair(
                mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                store=True,
                label=uri.object,
                id=uri.id or os.urandom(8),
                private_template={attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
            )
            return _public_bytes(pkcs11, public)


def list_tokens(module: str | None) -> list[tuple[TokenUri, bytes]]:
    """Every Ed25519 key on every token in reach, without a PIN: its URI and public key."""
    found = []
    with _faults() as pkcs11:
        for slot in _load(pkcs11, module).get_slots(token_present=True):
            token = slot.get_token()
            if not token.label:
                continue  # not initialised
            with token.open() as session:
                template = TokenUri().template(pkcs11, pkcs11.ObjectClass.PUBLIC_KEY)
                for key in session.get_objects(template):
                    uri = TokenUri(
                        token=token.label, object=key.label, id=key.id, module_path=module
                    )
                    found.append((uri, _public_bytes(pkcs11, key)))
    return sorted(found, key=lambda row: (str(row[0]), row[1]))


def _find_token(pkcs11: Any, uri: TokenUri) -> Any:
    found = []
    for slot in _load(pkcs11, uri.module_path).get_slots(token_present=True):
        token = slot.get_token()
        if uri.is_like(token):
            found.append(token)
    if len(found) != 1:
        raise NotFound("token-not-found", f"{uri} ({len(found)})")
    return found[0]


def _login(pkcs11: Any, token: Any, uri: TokenUri, ways: Ways, *, rw: bool = False) -> Any:
    pin = read_passphrase(ways, str(uri))
    try:
        return token.open(rw=rw, user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open(rw=rw)


def _one(pkcs11: Any, uri: TokenUri, session: Any, kind: Any) -> Any:
    keys = list(session.get_objects(uri.template(pkcs11, kind)))
    if len(keys) != 1:
        raise NotFound("token-key-not-found", f"{uri} ({len(keys)})")
    return keys[0]


def _public_bytes(pkcs11: Any, key: Any) -> bytes:
    """Public key of an object."""
    point = bytes(key[pkcs11.Attribute.EC_POINT])
    raw = decode_point(point)
    if len(raw) != 32:
        raise ToolError("token-failed", f"EC_POINT: {len(point)} B")
    return bytes([ED25519]) + raw


def _load(pkcs11: Any, module: str | None) -> Any:
    """The library of a token. Raises `InvalidInput`."""
    path = module or os.environ.get(MODULE_VARIABLE) or next(filter(_is_file, MODULES), None)
    if path is None or not _is_file(path):
        raise InvalidInput("hsm-module-not-found", path or ", ".join(MODULES))
    return pkcs11.lib(path)


def _is_file(path: str) -> bool:
    return Path(path).is_file()


@contextmanager
def _faults() -> Iterator[Any]:
    """The module `pkcs11`; its errors become ours. Raises `InvalidInput`, `ToolError`."""
    try:
        pkcs11: Any = importlib.import_module("pkcs11")
    except ImportError:
        raise InvalidInput("hsm-missing", "python-pkcs11") from None
    try:
        yield pkcs11
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise InvalidInput("pin-wrong", type(error).__name__) from None
    except (pkcs11.PinLocked, pkcs11.PinExpired) as error:
        raise InvalidInput("pin-locked", type(error).__name__) from None
    except RuntimeError as error:  # root of what the module raises
        text = f"{type(error).__name__} {error}".strip()
        raise ToolError("token-failed", text) from None
