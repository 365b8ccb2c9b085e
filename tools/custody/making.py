"""Making several keys at once: keystores under one pass phrase, plain files, or on tokens.

A pass phrase is asked for once, twice typed, however many keys it protects. Keys that are made
here are those of an agency's officers, of which an administrator's may be one that a token holds
already, and those of its node, which have a pass phrase of their own.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ledger.custody.keystore import Algorithm
from ledger.keys import SecretKey, Signer
from tools.custody.keyfiles import (
    check_free,
    format_plain,
    open_key_file,
    parse_pem,
    read_key_file,
    seal,
    write_private,
)
from tools.custody.passphrase import (
    PROMPT,
    Ways,
    new_passphrase,
    passphrase_options,
    read_passphrase,
)
from tools.custody.signer import is_token, open_signer
from tools.exits import InvalidInput
from tools.founding import new_secret_key
from tools.options import option
from tools.output import note
from tools.words import say


class KeyMaker:
    """How one run of a command keeps the keys that it makes."""

    def __init__(
        self,
        *,
        plain: bool = False,
        ways: Ways = PROMPT,
        tokens: tuple[str, ...] = (),
        pin: Ways = PROMPT,
    ) -> None:
        if plain and not ways.asks:
            raise InvalidInput("passphrase-ways", "--plain, --passphrase-file, --credential")
        for uri in tokens:
            if not is_token(uri):
                raise InvalidInput("token-uri-invalid", uri[:200])
        self._plain = plain
        self._ways = ways
        self._tokens = tokens
        self._pin = pin
        self._phrase = ""
        self._has_warned = False

    @property
    def ways(self) -> Ways | None:
        """How the pass phrase is given; None: there is none."""
        return None if self._plain else self._ways

    def for_node(self, ways: Ways) -> "KeyMaker":
        """What makes the keys of a node beside these: plain as they are, or in its own way.

        A node whose way is not given takes the file or credential of these; a person is asked.
        """
        if self._plain and ways.asks:
            return self
        return KeyMaker(plain=self._plain, ways=self._ways if ways.asks else ways)

    def open_tokens(self, count: int) -> list[Signer]:
        """Keys of up to `count` administrators that are on tokens. Raises `InvalidInput`."""
        if len(self._tokens) > count:
            raise InvalidInput("tokens-too-many", f"{len(self._tokens)} > {count}")
        signers = [open_signer(uri, self._pin) for uri in self._tokens]
        if len({signer.public for signer in signers}) < len(signers):
            raise InvalidInput("tokens-same-key", ", ".join(self._tokens))
        return signers

    def prepare(self, folder: Path) -> None:
        """Ask for what `write` needs, so that nothing is made before the phrase is known."""
        if self._plain:
            if not self._has_warned:
                note(say("custody.plain_warning"))
            self._has_warned = True
        elif not self._phrase:
            self._phrase = new_passphrase(self._ways, str(folder))

    def write(self, path: Path, key: SecretKey) -> None:
        """Write the file of a new key, after `prepare`. Raises `InvalidInput` if there is one."""
        self.write_secret(path, key.seed, "ed25519")

    def write_secret(self, path: Path, secret: bytes, algorithm: Algorithm) -> None:
        """The same for a key of any algorithm."""
        assert self._plain or self._phrase, "prepare comes first"
        data = (
            format_plain(secret, algorithm)
            if self._plain
            else seal(secret, algorithm, self._phrase)
        )
        write_private(path, data)

    def write_pem(self, path: Path, pem: bytes) -> None:
        """Write the file of a TLS key, as `write` does: PEM, or its keystore."""
        assert self._plain or self._phrase, "prepare comes first"
        algorithm, secret = parse_pem(path, pem)
        write_private(path, pem if self._plain else seal(secret, algorithm, self._phrase))

    def open_or_make(self, paths: dict[str, Path]) -> dict[str, Signer]:
        """The keys in these files; those that are missing are made. Raises `InvalidInput`.

        All keystores among them have one pass phrase, also those that are made now.
        """
        files = {name: read_key_file(path) for name, path in paths.items() if path.exists()}
        sealed = [file for file in files.values() if file.is_protected]
        if sealed:
            folder = str(sealed[0].path.parent)
            self._phrase = self._phrase or read_passphrase(self._ways, folder)
        ways = Ways(phrase=self._phrase)
        opened = {name: SecretKey(open_key_file(file, ways)) for name, file in files.items()}
        missing = {name: path for name, path in paths.items() if name not in files}
        for path in missing.values():
            check_free(path)
        made = {name: new_secret_key() for name in missing}
        if missing:
            self.prepare(next(iter(missing.values())).parent)
        for name, path in missing.items():
            self.write(path, made[name])
        return {name: (opened | made)[name] for name in paths}


def making_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that makes keys; the function gets `maker`."""

    @wraps(function)
    def wrapped(
        plain: bool,
        ways: Ways,
        admin_token: tuple[str, ...],
        pin_file: Path | None,
        **values: Any,
    ) -> Any:
        maker = KeyMaker(plain=plain, ways=ways, tokens=admin_token, pin=Ways(file=pin_file))
        return function(maker=maker, **values)

    path = click.Path(path_type=Path, dir_okay=False)
    decorated: Callable[..., Any] = wrapped
    decorated = option("--pin-file", type=path, help="option.pin_file")(decorated)
    decorated = option("--admin-token", multiple=True, metavar="URI", help="option.admin_token")(
        decorated
    )
    decorated = passphrase_options(decorated)
    return option("--plain", is_flag=True, help="option.plain")(decorated)
