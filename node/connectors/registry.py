"""Connectors and receivers by name: those of ours, and plug-ins found as entry points.

A plug-in's package declares, in the groups `tallystick.connectors` and `tallystick.receivers`,
a name and the factory that `node.connectors.interface` describes.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from node.connectors.errors import InvalidOptions
from node.connectors.interface import Connector, Receiver

CONNECTORS_GROUP = "tallystick.connectors"
RECEIVERS_GROUP = "tallystick.receivers"

# Ours are found without metadata of an installation; the module is imported when it is asked for.
CONNECTORS = {
    "folder": ("node.connectors.folder", "FolderConnector"),
    "http": ("node.connectors.http", "HttpConnector"),
    "sql": ("node.connectors.sql", "SqlConnector"),
}
RECEIVERS = {
    "folder": ("node.connectors.inbox", "FolderReceiver"),
    "http": ("node.connectors.hook", "HttpReceiver"),
}

_Factory = Callable[[Mapping[str, Any], Path], object]


def load_connector(name: str, options: Mapping[str, Any], base: Path) -> Connector:
    """The connector of a name, made by its factory. Raises `InvalidOptions`."""
    made = _make(_find(name, CONNECTORS, CONNECTORS_GROUP), name, options, base)
    if not isinstance(made, Connector):
        raise InvalidOptions("plugin-interface", f"{name}: check, read, close")
    return made


def load_receiver(name: str, options: Mapping[str, Any], base: Path) -> Receiver:
    """The receiver of a name, made by its factory. Raises `InvalidOptions`."""
    made = _make(_find(name, RECEIVERS, RECEIVERS_GROUP), name, options, base)
    if not isinstance(made, Receiver):
        raise InvalidOptions("plugin-interface", f"{name}: check, receive, erase, close")
    return made


def _find(name: str, ours: Mapping[str, tuple[str, str]], group: str) -> _Factory:
    plugins = [point for point in entry_points(group=group) if point.name == name]
    if len(plugins) + (name in ours) > 1:
        raise InvalidOptions("plugin-repeated", f"{name}: {', '.join(map(_maker, plugins))}")
    if plugins:
        return _load(plugins[0])
    if name not in ours:
        known = sorted({*ours, *(point.name for point in entry_points(group=group))})
        raise InvalidOptions("plugin-unknown", f"{name} ({', '.join(known)})")
    module, attribute = ours[name]
    try:
        factory: _Factory = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise InvalidOptions("library-missing", f"{name}: {error.name}") from None
    return factory


def _load(point: EntryPoint) -> _Factory:
    """The factory of a plug-in, whose import may fail in any way."""
    try:
        factory = point.load()
    except Exception as error:
        raise _broken(point.name, _maker(point), error) from error
    if not callable(factory):
        raise InvalidOptions("plugin-broken", f"{point.name}: {_maker(point)}: {point.value}")
    return factory  # type: ignore[no-any-return]  # any callable; what it makes is checked


def _make(factory: _Factory, name: str, options: Mapping[str, Any], base: Path) -> object:
    try:
        return factory(options, base)
    except InvalidOptions:
        raise
    except Exception as error:
        raise _broken(name, getattr(factory, "__module__", ""), error) from error


def _broken(name: str, maker: str, error: Exception) -> InvalidOptions:
    """Only the kind of the error: its text may quote an option's value, a secret perhaps."""
    return InvalidOptions("plugin-broken", f"{name}: {maker}: {type(error).__name__}")


def _maker(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
