"""Options by which the keys of a node are taken from a token in place of being made as files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ledger.keys import Signer
from tools.custody.passphrase import PROMPT, Ways
from tools.custody.signer import is_token, open_signer
from tools.exits import InvalidInput
from tools.options import option

NODE_KEYS = ("consensus", "cosigning")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTokens:
    """URIs of a node's keys on tokens by their name, and how the PIN is given."""

    uris: dict[str, str] = field(default_factory=dict)
    pin: Ways = PROMPT

    def __post_init__(self) -> None:
        for uri in self.uris.values():
            if not is_token(uri):
                raise InvalidInput("token-uri-invalid", uri[:200])

    def open(self) -> dict[str, Signer]:
        """What signs for these keys. Raises `InvalidInput`."""
        signers = {name: open_signer(uri, self.pin) for name, uri in self.uris.items()}
        if len({signer.public for signer in signers.values()}) < len(signers):
            raise InvalidInput("node-tokens-same-key", ", ".join(self.uris.values()))
        return signers


def node_token_options(*, pin: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of a command that makes a node; the function gets `held`.

    `pin`: with `--pin-file`, which other options of the command may bring already.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(consensus_token: str | None, cosigning_token: str | None, **values: Any) -> Any:
            pin_file: Path | None = values.pop("pin_file") if pin else values.get("pin_file")
            named = {"consensus": consensus_token, "cosigning": cosigning_token}
            uris = {name: uri for name, uri in named.items() if uri}
            held = NodeTokens(uris=uris, pin=Ways(file=pin_file))
            return function(held=held, **values)

        decorated: Callable[..., Any] = wrapped
        if pin:
            path = click.Path(path_type=Path, dir_okay=False)
            decorated = option("--pin-file", type=path, help="option.pin_file")(decorated)
        for name in reversed(NODE_KEYS):
            flag = f"--{name}-token"
            decorated = option(flag, metavar="URI", help=f"option.{name}_token")(decorated)
        return decorated

    return decorate
