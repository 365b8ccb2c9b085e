"""The one way to a signer: every command that signs gets it here, whatever keeps the key.

A reference is the path of a key file or keystore, or a `pkcs11:` URI. `describe_key` tells what can
be told without a pass phrase, so that a command shows first what will be signed; `open_signer` may
ask for it, once in a process.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ledger.custody.token_uri import is_token_uri
from ledger.keys import SecretKey, Signer, fingerprint, format_public_key
from tools.custody.keyfiles import KeyFile, open_key_file, read_key_file
from tools.custody.passphrase import PROMPT, Ways
from tools.exits import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What is known of a key without a pass phrase."""

    reference: str
    kind: str
    public_key: str
    fingerprint: str
    is_protected: bool


def is_token(reference: str) -> bool:
    """Whether a reference names a key on a token."""
    return is_token_uri(reference)


def describe_key(reference: str) -> KeyInfo:
    """Public half and kind of a key. Raises `InvalidInput`."""
    if is_token(reference):
        from tools.custody.token import find_public_key

        public = find_public_key(reference)
        return KeyInfo(
            reference=reference,
            kind="token",
            public_key=format_public_key(public),
            fingerprint=fingerprint(public),
            is_protected=True,
        )
    file = read_key_file(Path(reference))
    return KeyInfo(
        reference=reference,
        kind=file.kind,
        public_key=file.public_key,
        fingerprint=file.fingerprint,
        is_protected=file.is_protected,
    )


def open_signer(reference: str, ways: Ways = PROMPT) -> Signer:
    """What signs for the key of a reference. Raises `InvalidInput`."""
    opened = _opened()
    if reference in opened:
        return opened[reference]
    signer: Signer
    if is_token(reference):
        from tools.custody.token import open_token

        signer = open_token(reference, ways)
    else:
        signer = _signer_of(read_key_file(Path(reference)), ways)
    opened[reference] = signer
    return signer


def _signer_of(file: KeyFile, ways: Ways) -> SecretKey:
    if file.algorithm != "ed25519":
        raise InvalidInput("key-not-signing", f"{file.path}: {file.algorithm}")
    return SecretKey(open_key_file(file, ways))


def _opened() -> dict[str, Signer]:
    """Signers that this run of a command has opened already."""
    context = click.get_current_context(silent=True)
    if context is None:
        return {}
    found: Any = context.meta.setdefault("tools.custody", {})
    opened: dict[str, Signer] = found
    return opened
