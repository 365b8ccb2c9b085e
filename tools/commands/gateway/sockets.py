"""Which gateway is asked: by its configuration, or by the path of its socket."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, cast

import click

from tools.gateway.socket import GatewaySocket, socket_of
from tools.options import common, option

CONFIG = Path("gateway.toml")


def socket_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which gateway; the function gets `gateway`."""

    @wraps(function)
    def wrapped(config: Path, socket: Path | None, **values: Any) -> Any:
        return function(gateway=GatewaySocket(socket or socket_of(config)), **values)

    decorated = common(wrapped)
    path = click.Path(path_type=Path, dir_okay=False)
    decorated = option("--socket", type=path, help="option.socket")(decorated)
    return cast(
        Callable[..., Any],
        option(
            "--config", type=path, default=CONFIG, show_default=True, help="option.gateway_config"
        )(decorated),
    )
