"""`tally audit compare`: two copies or nodes, and the first entry that differs."""

from pathlib import Path
from typing import Any

import click

from ledger.verify import Read
from tools.audit.index.compare import Difference, Side, Stands, compare, describe_entry
from tools.exits import UNVERIFIED, NotFound, Unreachable
from tools.mirror import folder_reader, read_genesis
from tools.mirror.pruned import PRUNED, Pruned, decode_pruned, refuse_archived
from tools.options import WordCommand, common, option
from tools.output import emit, note, printable, run
from tools.words import say


@click.command("compare", cls=WordCommand, help="help.audit_compare")
@click.argument("one")
@click.argument("other")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@common
def compare_copies(one: str, other: str, genesis: Path | None, as_json: bool) -> None:
    """Name the first entry in which two copies or nodes differ."""
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    sides = [Side(name, reader_of(name), founding) for name in (one, other)]
    found = compare(*sides)
    emit(as_json, _document((one, other), found), printable(_tell((one, other), found)))
    if found.result in ("different", "other-network"):
        click.get_current_context().exit(UNVERIFIED)


def reader_of(where: str) -> Read:
    """Reads named files of a folder, or of what a node serves."""
    if not where.startswith(("http://", "https://")):
        return folder_reader(Path(where))
    return _WebReader(where).read


class _WebReader:
    """Files of a node, or of a web server that has those of a mirror.

    The checkpoint is asked for first: epochs may end while one reads.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._checkpoint = self._fetch("/log/checkpoint")
        self._is_node = self._checkpoint is not None
        self._pruned = Pruned()
        if not self._is_node:
            self._checkpoint = self._fetch("/checkpoint")
            if record := self._fetch(f"/{PRUNED}"):
                self._pruned = decode_pruned(record, f"{self._url}/{PRUNED}")

    def read(self, name: str) -> bytes | None:
        """Bytes of a file, or None where there is none. Raises `InvalidInput` if it was pruned."""
        if name == "checkpoint":
            return self._checkpoint
        data = self._fetch(self._path(name))
        if data is None:
            refuse_archived(self._url, name, self._pruned)
        return data

    def _path(self, name: str) -> str:
        if not self._is_node:
            return f"/{name}"
        if name == "genesis.json":
            return "/v1/genesis"
        return f"/v1/log/{name}" if name.startswith("epochs/") else f"/log/{name}"

    def _fetch(self, path: str) -> bytes | None:
        from tools.client import fetch_file

        try:
            return run(fetch_file(self._url, path))
        except NotFound:
            return None
        except Unreachable as error:
            if error.code == "epoch-proof-not-yet":
                return None
            raise


def _document(names: tuple[str, str], found: Difference) -> dict[str, Any]:
    sides = [
        {
            "where": names[at],
            "network": found.networks[at].hex(),
            "entries": found.sizes[at],
            "root": found.roots[at].hex(),
            **_describe(None if found.entries is None else found.entries[at]),
        }
        for at in (0, 1)
    ]
    return {"result": found.result, "first": found.first, "sides": sides}


def _describe(entry: Stands | None) -> dict[str, Any]:
    data = None if entry is None else entry.data
    return {
        "entry": None if data is None else data.hex(),
        "what": None if data is None else describe_entry(data),
        "leaf": None if entry is None else entry.leaf.hex(),
        "archived": dict(entry.archived) if entry is not None and entry.archived else None,
    }


def _tell_entry(entry: Stands) -> str:
    if entry.data is not None:
        return describe_entry(entry.data)
    return say("compare.archived", leaf=entry.leaf.hex(), **entry.archived)


def _tell(names: tuple[str, str], found: Difference) -> str:
    if found.result == "other-network":
        lines = [say("compare.other_network")]
        lines += [f"  {name}: {network.hex()}" for name, network in
                  zip(names, found.networks, strict=True)]  # fmt: skip
        return "\n".join(lines)
    if found.entries is not None:
        lines = [say("compare.different", index=found.first)]
        lines += [f"  {name}: {_tell_entry(entry)}" for name, entry in
                  zip(names, found.entries, strict=True)]  # fmt: skip
        return "\n".join([*lines, say("compare.fork")])
    if found.result == "equal":
        return say("compare.equal", entries=found.sizes[0], root=found.roots[0].hex())
    at = 0 if found.sizes[0] < found.sizes[1] else 1
    return say(
        "compare.prefix",
        short=names[at],
        long=names[1 - at],
        entries=found.sizes[at],
        more=found.sizes[1 - at] - found.sizes[at],
    )
