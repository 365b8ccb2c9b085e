"""Where policy sets come from: files, a genesis, a mirrored log, a node, or this program.

A folder with `.cedar` files is a draft: each file is a contract, named by the file, in the order of
the names; `schema.cedarschema` beside them is the schema, else the shipped one is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from contracts.drafts.check import SCHEMA, find_policy_set_faults
from contracts.engine import ENGINE_VERSION
from contracts.shipped import load_shipped
from ledger.registry import Contract, PolicySet
from tools.contract.past import open_past
from tools.exits import InvalidInput
from tools.founding import read_file
from tools.mirror import event_map, read_genesis
from tools.output import progress

CONTRACT_BYTES_MAX = 131_072
SCHEMA_FILE = "schema.cedarschema"
SHIPPED = "shipped"
_CONTRACT_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A policy set read from files; `paths` names the file of each contract and of the schema."""

    policy_set: PolicySet
    paths: dict[str, Path]


def read_draft(paths: Sequence[Path]) -> Draft:
    """Draft of folders and files. Raises `InvalidInput` for what cannot be read as one."""
    found = [file for path in paths for file in _files_of(path)]
    schemas = [file for file in found if file.suffix == ".cedarschema"]
    policies = sorted(file for file in found if file.suffix == ".cedar")
    if len(schemas) > 1:
        raise InvalidInput("draft-invalid", ", ".join(map(str, schemas)))
    if not policies:
        raise InvalidInput("draft-empty", ", ".join(map(str, paths)))
    placed = {file.stem: file for file in policies}
    if len(placed) < len(policies):
        raise InvalidInput("draft-invalid", ", ".join(map(str, policies)))
    for name, file in placed.items():
        if not _CONTRACT_ID.fullmatch(name):
            raise InvalidInput("draft-invalid", str(file))
    shipped = load_shipped()
    policy_set = PolicySet(
        version=1,
        engine=ENGINE_VERSION,
        schema=_read_text(schemas[0]) if schemas else shipped.schema,
        contracts=tuple(
            Contract(id=name, text=_read_text(file)) for name, file in sorted(placed.items())
        ),
    )
    return Draft(policy_set=policy_set, paths={**placed, SCHEMA: schemas[0] if schemas else Path()})


def read_usable(path: Path) -> PolicySet:
    """A draft without faults, or the shipped set. Raises `InvalidInput`."""
    if str(path) == SHIPPED:
        return load_shipped()
    draft = read_draft([path])
    faults = find_policy_set_faults(draft.policy_set)
    if faults:
        detail = f"{path}: {len(faults)}: {faults[0].code} {faults[0].contract}"
        raise InvalidInput("policy-set-invalid", detail)
    return draft.policy_set


def shipped_folder() -> Path:
    """Folder of the shipped contracts and their cases, as installed."""
    return Path(str(files("contracts"))) / "policies"


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix not in (".cedar", ".cedarschema"):
            raise InvalidInput("draft-invalid", str(path))
        return [path]
    found = sorted(path.glob("*.cedar"))
    schema = path / SCHEMA_FILE
    return [*found, schema] if schema.exists() else found


def read_text(path: Path, size_bytes_max: int) -> str:
    """A UTF-8 file that a user named. Raises `InvalidInput`."""
    try:
        return read_file(path, size_bytes_max=size_bytes_max).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("text-invalid", str(path)) from None


def _read_text(path: Path) -> str:
    return read_text(path, CONTRACT_BYTES_MAX)


def read_policy_set(where: str, genesis: Path | None, jobs: int) -> PolicySet:
    """Policy set of a draft, a genesis file, a mirrored log or a node; `@HEIGHT` chooses a block.

    Without a height it is the one in force for the next block. Raises `InvalidInput`.
    """
    if where == SHIPPED:
        return load_shipped()
    place, height = _split_height(where)
    path = Path(place)
    is_log = place.startswith(("http://", "https://")) or (path / "checkpoint").exists()
    if is_log:
        return _read_from_log(place, height, genesis, jobs)
    if height is not None:
        raise InvalidInput("height-unknown", where)
    if path.suffix == ".json":
        return read_genesis(path).policy_set
    return read_draft([path]).policy_set


def _split_height(where: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(.+)@([0-9]{1,18})", where)
    return (found[1], int(found[2])) if found else (where, None)


def _read_from_log(where: str, height: int | None, genesis: Path | None, jobs: int) -> PolicySet:
    with (
        open_past(where, genesis) as past,
        event_map(jobs) as map_events,
        progress("contract.reading") as bar,
    ):
        last = 0
        for block, _ in past.walk(map_events, bar):
            last = block.header.height
            if last == height:
                past.history.verify_state(block)
                return past.policy_set
        if height not in (None, last + 1):
            raise InvalidInput("height-unknown", f"{where}@{height}: 1 … {last + 1}")
        return past.history.policy_set
