"""How the own keys of a node are kept, and what its configuration says of it.

    nodes/MEMBER/keys.toml   settings for `[keys]` that `tally admin found init` was given: `finish`
                             writes the configuration, which is when the genesis is there

The pass phrase of a node is another than that of officers' keys, unless both are given by the same
file or credential: a node starts without a person, so its pass phrase is where its machine is.
Where a person typed it, the configuration names a file beside it, which is for that person to put
there: nothing here writes a pass phrase.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from ledger.codec import Value
from tools.custody.making import KeyMaker
from tools.custody.node_tokens import NodeTokens
from tools.custody.passphrase import Ways, choose_ways, passphrase_options
from tools.exits import InvalidInput
from tools.founding import read_file
from tools.options import option
from tools.words import say

REMEMBERED = "keys.toml"
PHRASE = "passphrase"
FILE_BYTES_MAX = 16_384


class NodeKeySettings(Value, frozen=True, kw_only=True):
    """Settings for `[keys]`; empty: as the configuration has it by itself."""

    consensus: str = ""
    cosigning: str = ""
    passphrase_file: str = ""
    credential: str = ""
    pin_file: str = ""

    def as_table(self) -> dict[str, str]:
        """Those that are set."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}


def settings_of(maker: KeyMaker, held: NodeTokens) -> NodeKeySettings:
    """What a configuration says of keys that are made so, and of those on tokens."""
    values = dict(held.uris)
    if held.uris and held.pin.file is not None:
        values["pin_file"] = str(held.pin.file.resolve())
    ways = maker.ways
    if ways is not None and ways.credential:
        values["credential"] = ways.credential
    elif ways is not None:
        values["passphrase_file"] = PHRASE if ways.file is None else str(ways.file.resolve())
    return NodeKeySettings(**values)


def remember(folder: Path, settings: NodeKeySettings) -> None:
    """Keep settings in the folder of a node."""
    (folder / REMEMBERED).write_text(format_settings(settings.as_table()), "utf-8")


def recall(folder: Path) -> NodeKeySettings:
    """The settings in the folder of a node, if there are any. Raises `InvalidInput`."""
    path = folder / REMEMBERED
    if not path.exists():
        return NodeKeySettings()
    try:
        table = tomllib.loads(read_file(path, size_bytes_max=FILE_BYTES_MAX).decode())
        return msgspec.convert(table, NodeKeySettings)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput("value-file-invalid", f"{path}: {error}") from None


def format_settings(table: Mapping[str, str]) -> str:
    """Lines of TOML."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())


def tell_phrase(config: Path) -> str:
    """What is still to be done before the node of a configuration finds its pass phrase."""
    named = tomllib.loads(config.read_text("utf-8"))["keys"].get("passphrase_file", "")
    path = config.parent / named
    return "" if not named or path.exists() else say("custody.node_phrase", path=path)


def node_phrase_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that makes keys of officers and of a node; it gets `node_ways`."""

    @wraps(function)
    def wrapped(node_passphrase_file: Path | None, node_credential: str, **values: Any) -> Any:
        return function(node_ways=choose_ways(node_passphrase_file, node_credential), **values)

    path = click.Path(path_type=Path, dir_okay=False)
    decorated = option("--node-credential", default="", help="option.node_credential")(wrapped)
    return cast(
        Callable[..., Any],
        option("--node-passphrase-file", type=path, help="option.node_passphrase_file")(decorated),
    )


def node_making_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that makes only the keys of a node; the function gets `maker`."""

    @wraps(function)
    def wrapped(plain: bool, ways: Ways, **values: Any) -> Any:
        return function(maker=KeyMaker(plain=plain, ways=ways), **values)

    return option("--plain", is_flag=True, help="option.plain")(passphrase_options(wrapped))
