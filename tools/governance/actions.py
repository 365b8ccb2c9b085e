"""Actions in words, and actions from files and options."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ledger.codec import Value
from ledger.governance.actions import Action, LiftFreeze, SetContract, SetFreeze
from ledger.registry import Contract
from tools.exits import InvalidInput
from tools.governance.changes import Change, flatten, tell_value
from tools.output import printable
from tools.words import say

T = TypeVar("T", bound=Value)

FILE_BYTES_MAX = 262_144
CONTRACT_ENDING = ".cedar"


def tag_of(action: Action) -> str:
    """`member.admit` and so on."""
    return str(action.__struct_config__.tag)


def tell_action(action: Action) -> str:
    """What an action is called."""
    return say(f"action.{tag_of(action).replace('.', '_')}")


def format_actions(actions: Sequence[Action], *, beside: Sequence[Change] = ()) -> str:
    """Everything that stands in the actions, a field a line, long texts as they are.

    Long texts and entries of lists are left out if they stand in the changes that are shown
    `beside`: whatever a node does not name there is shown here.
    """
    named = frozenset(text for change in beside for _, text in flatten(change.after))
    return "\n".join(line for action in actions for line in _format_action(action, named))


def _format_action(action: Action, named: frozenset[str]) -> Iterator[str]:
    fields = msgspec.to_builtins(action, builtin_types=(bytes,))
    fields.pop("action")
    yield tell_action(action)
    for name, text in flatten(fields):
        if text in named and ("\n" in text or "[" in name):
            continue
        if "\n" in text:
            yield f"  {tell_value(name)}"
            yield from (f"    {line}" for line in text.rstrip("\n").split("\n"))
        else:
            yield f"  {tell_value(name, text)}"


def summarise(actions: Sequence[Action]) -> str:
    """Actions in one line: what, and on whom or what."""
    return "; ".join(f"{tell_action(action)} {subject_of(action)}".strip() for action in actions)


def subject_of(action: Action) -> str:
    """Whom or what an action is about; nothing for what there is only one of."""
    if isinstance(action, SetFreeze | LiftFreeze):
        scope = action.freeze if isinstance(action, SetFreeze) else action
        names = (scope.requester, scope.provider, scope.dataset)
        return printable(" / ".join(name or "*" for name in names))
    rows = dict(flatten(msgspec.to_builtins(action, builtin_types=(bytes,))))
    return next((printable(rows[path]) for path in _SUBJECTS if path in rows), "")


# Where the name of what an action is about stands, in the order in which they are looked for.
_SUBJECTS = (
    "application.id",
    "statement.rotation.member",
    "member",
    "validator.member",
    "key",
    "id",
    "contract.id",
    "dataset.id",
    "basis.id",
    "purpose.id",
    "record_schema.dataset",
    "code_list.id",
    "target",
    "rule.action_class",
)


def check_action(action: Action) -> Action:
    """The action, if strict reading accepts it. Raises `InvalidInput`."""
    try:
        return msgspec.convert(msgspec.to_builtins(action, builtin_types=(bytes,)), type(action))
    except msgspec.ValidationError as error:
        raise InvalidInput("event-body-invalid", str(error)) from None


def read_value(path: Path, type_: type[T]) -> T:
    """A value of a JSON or TOML file, by its ending. Raises `InvalidInput`."""
    try:
        return msgspec.convert(read_table(path), type_)
    except msgspec.ValidationError as error:
        raise InvalidInput("value-file-invalid", f"{path}: {error}") from None


def read_table(path: Path) -> dict[str, Any]:
    """The table in a JSON or TOML file. Raises `InvalidInput`."""
    text = read_text(path)
    try:
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
        document = decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput("value-file-invalid", f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput("value-file-invalid", f"{path}: {type(document).__name__}")
    return document


def read_contract(path: Path) -> SetContract:
    """The contract in a Cedar file; its id is the name of the file. Raises `InvalidInput`."""
    if path.suffix != CONTRACT_ENDING:
        raise InvalidInput("contract-file-invalid", str(path))
    return SetContract(contract=Contract(id=path.stem, text=read_text(path)))


def read_text(path: Path) -> str:
    """A text file in UTF-8. Raises `InvalidInput`."""
    from tools.founding import read_file

    try:
        return read_file(path, size_bytes_max=FILE_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise InvalidInput("file-not-text", str(path)) from None
