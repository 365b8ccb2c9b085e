"""What a proposal changes, for people: field by field for values, line by line for texts.

Everything shown here was written by somebody else, so control characters are replaced.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from contracts.words import role_word
from ledger.custody.certificates import hash_certificate, verify_certificate
from ledger.custody.encryption import (
    ENCRYPTION_KEY_BYTES,
    MLKEM768_X25519,
    format_fingerprint,
    hash_encryption_key,
)
from ledger.errors import InvalidCertificate, InvalidKey
from ledger.keys import ED25519, PUBLIC_KEY_BYTES, fingerprint, format_public_key
from tools.output import printable
from tools.words import catalogue, language, say

CONTEXT_LINES = 2
BYTES_SHOWN = 8
_ARROW = " → "
# What names an entry of a list, so that it is compared with itself in the list after.
_NAMES = ("id", "key", "member", "code", "behaviour", "reason")
# Signatures say nothing to people; they are checked where the action is.
_UNSHOWN = ("possession", "signature", "old_signature", "new_signature")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under a target (`dataset/account`) before and after; None: nothing."""

    target: str
    kind: str = "set"
    before: Any = None
    after: Any = None


# Words of what stands in a field: its name, and the table of the catalogue.
_TABLES = {"status": "standing", "kind": "party"}


def format_changes(changes: Sequence[Change]) -> str:
    """All changes as a text; says so where there is none."""
    if not changes:
        return say("governance.no_changes")
    return "\n".join(line for change in changes for line in _format_change(change))


def _format_change(change: Change) -> Iterator[str]:
    verb = "added" if change.before is None else "removed" if change.after is None else "changed"
    head = tell_target(change.target)
    yield say("governance.change", target=head, verb=say(f"governance.{verb}"))
    for line in compare(change.before, change.after):
        # What the head says already is not said again.
        if not head.endswith(f" {line.rpartition(say('word.colon'))[2]}"):
            yield f"  {line}"


def tell_target(target: str) -> str:
    """`dataset/account` in words."""
    kind, _, name = target.partition("/")
    if kind in ("officer", "term"):
        name = tell_key(name)
    words = catalogue(language()).get(f"target.{kind}", kind)
    return printable(f"{words} {name}".strip())


def tell_key(digits: str) -> str:
    """The hex digits of a public key with its algorithm id as `ed25519:HEX`."""
    try:
        return format_public_key(bytes.fromhex(digits))
    except (ValueError, InvalidKey):
        return digits


def compare(before: Any, after: Any) -> Iterator[str]:
    """Lines that say how two values differ: `-`, `+`, or `name: old → new`."""
    old, new = dict(flatten(before)), dict(flatten(after))
    for name in [*old, *(name for name in new if name not in old)]:
        left, right = old.get(name), new.get(name)
        if left == right:
            continue
        if "\n" in f"{left or ''}{right or ''}":
            yield tell_value(name)
            yield from (f"  {line}" for line in _compare_texts(left or "", right or ""))
        elif left is None:
            yield f"+ {tell_value(name, right)}"
        elif right is None:
            yield f"- {tell_value(name, left)}"
        else:
            yield tell_value(name, f"{left}{_ARROW}{right}")


def _compare_texts(left: str, right: str) -> list[str]:
    """A unified diff without its two lines of file names."""
    old, new = (text.rstrip("\n").split("\n") if text else [] for text in (left, right))
    return list(difflib.unified_diff(old, new, lineterm="", n=CONTEXT_LINES))[2:]


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of everything in a value; entries of lists are named by their id."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key in _UNSHOWN:
                continue
            yield from flatten(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
        for place, each in enumerate(value):
            yield from flatten(each, f"{name}[{_entry_name(each, place)}]")
    elif value is not None or name:
        yield name, _text_of(value, name)


def _entry_name(entry: Any, place: int) -> str:
    if isinstance(entry, dict):
        if isinstance(entry.get("key"), bytes):
            return fingerprint(entry["key"])
        for name in _NAMES:
            if name in entry:
                return printable(_text_of(entry[name], name))
    return str(place)


def _text_of(value: Any, name: str) -> str:
    """One value in words."""
    leaf = name.rpartition(".")[2]
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(_text_of(each, leaf) for each in value) or "-"
    if isinstance(value, bytes):
        return _tell_bytes(value)
    words = catalogue(language())
    if leaf == "roles" and isinstance(value, str):
        return tell_role(value)
    if isinstance(value, str):
        table = _TABLES.get(leaf)
        return printable(words.get(f"{table}.{value}", value) if table else value) or "-"
    return str(value)


def _tell_bytes(value: bytes) -> str:
    if len(value) == PUBLIC_KEY_BYTES and value[0] == ED25519:
        return format_public_key(value)
    if len(value) == ENCRYPTION_KEY_BYTES and value[0] == MLKEM768_X25519:
        return f"mlkem768-x25519 {format_fingerprint(hash_encryption_key(value))}"
    if _is_certificate(value):
        return f"x509 sha256:{hash_certificate(value).hex()}"
    more = "..." if len(value) > BYTES_SHOWN else ""
    return f"{value[:BYTES_SHOWN].hex()}{more} ({len(value)} B)"


def _is_certificate(value: bytes) -> bool:
    try:
        verify_certificate(value)
    except InvalidCertificate:
        return False
    return True


def tell_role(role: str) -> str:
    """A role in words; one that is not known as it is."""
    try:
        return role_word(role, "zh" if language() == "zh" else "en")
    except KeyError:
        return printable(role)


def tell_value(name: str, text: str | None = None) -> str:
    """The name of a field and what it holds; without `text` what follows stands below."""
    return f"{tell_field(name)}{say('word.colon')}{text or ''}".rstrip()


def tell_field(name: str) -> str:
    """The name of a field in words, where the catalogue has them: `fields[uscc].name_zh`."""
    path, _, leaf = name.rpartition(".")
    words = catalogue(language()).get(f"field.{leaf.partition('[')[0]}")
    told = leaf if words is None else words + leaf[len(leaf.partition("[")[0]) :]
    return printable(f"{tell_field(path)} · {told}" if path else told or say("governance.value"))
