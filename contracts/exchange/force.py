"""Whether what an act needs is there and in force. Each check raises `RefusedEvent`."""

from functools import lru_cache

from contracts.errors import refused
from contracts.lookup import (
    find_code_list,
    find_dataset,
    find_purpose,
    find_record_schema,
    is_ended,
    read_record_schema_version,
)
from contracts.registers.schema import read_schema
from ledger.registry import Dataset, Officer
from ledger.state import StateReader

CODE_SETS = ("oecd-crs-sm-2.0", "oecd-crs-sm-3.0", "tallystick-1")


def check_role(officer: Officer, *roles: str) -> None:
    """Check that an officer has one of the roles."""
    for role in roles:
        if role in officer.roles:
            return
    raise refused("role-missing", " / ".join(roles))


def check_dataset(state: StateReader, name: str) -> Dataset:
    """The dataset of that id."""
    dataset = find_dataset(state, name)
    if dataset is None:
        raise refused("dataset-unknown", name)
    if is_ended(state, f"dataset/{name}"):
        raise refused("dataset-ended", name)
    return dataset


def check_purpose(state: StateReader, purpose: str) -> None:
    """Check the purpose of a request or of a consent."""
    if find_purpose(state, purpose) is None:
        raise refused("purpose-unknown", purpose)
    if is_ended(state, f"purpose/{purpose}"):
        raise refused("purpose-ended", purpose)


def check_codes(state: StateReader, code_set: str, codes: tuple[int, ...]) -> tuple[int, ...]:
    """The codes. A set of them that members have registered counts; else those that all know."""
    listed = find_code_list(state, code_set)
    if listed is None and code_set not in CODE_SETS:
        raise refused("code-set-unknown", code_set)
    if is_ended(state, f"code-list/{code_set}"):
        raise refused("code-set-ended", code_set)
    known = frozenset(each.code for each in listed.codes) if listed is not None else None
    for code in codes:
        if known is not None and str(code) not in known:
            raise refused("status-code-unknown", f"{code_set} has no code {code}")
    return codes


def check_schema_version(state: StateReader, name: str, version: int) -> int:
    """The version that delivered records keep to; without a record schema, one of the dataset.

    A code list that has ended takes with it every version that names it: otherwise records would
    go on with codes that their members have put out of force.
    """
    newest = read_record_schema_version(state, name)
    if not newest:
        dataset = find_dataset(state, name)
        newest = 0 if dataset is None else dataset.version
    elif is_ended(state, f"record-schema/{name}@{version}"):
        raise refused("record-schema-ended", f"{name} version {version}")
    if version > newest:
        raise refused("schema-version-unknown", f"{name} version {version}")
    schema = find_record_schema(state, name, version)
    for each in () if schema is None else _code_lists_of(schema.text):
        if is_ended(state, f"code-list/{each}"):
            raise refused("record-schema-ended", f"{name} version {version}, with {each}")
    return version


@lru_cache(256)
def _code_lists_of(text: str) -> tuple[str, ...]:
    """Ids of the code lists that a record schema on the ledger names."""
    return tuple(sorted(frozenset(read_schema(text).code_lists())))
