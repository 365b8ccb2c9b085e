"""What a request asks for, as options or as a file, for every command that asks."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import click
import msgspec
from msgspec import Meta

from ledger.codec import Value
from ledger.scalars import FIELDS_MAX, Date, Identifier, Urgency
from tools.exits import InvalidInput, InvalidUsage
from tools.options import option

SUBJECT_LINES_MAX = 1_000
FILE_BYTES_MAX = 262_144
FILE = click.Path(path_type=Path, dir_okay=False)

# Fields of a request whose option has another name.
OPTION_NAMES = {
    "provider": "--to",
    "fields": "--field",
    "period_from": "--from",
    "period_to": "--until",
}


class Request(Value, frozen=True, kw_only=True):
    """What `request` asks for, by options or by a JSON file with these fields.

    A line of `config/demo/requests.ndjson` is such a file. `requester` and `subject_count` are
    checked where they are given; notes and the expected decision are for people.
    """

    provider: Identifier
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    fields: Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=FIELDS_MAX)]
    period_from: Date
    period_to: Date
    urgency: Urgency = "normal"
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] = 180
    case: Annotated[str, Meta(max_length=64)] = ""
    requester: str = ""
    subject_count: int | None = None
    note_zh: str = ""
    note_en: str = ""
    expect: Literal["", "permit", "review", "deny"] = ""

    def terms(self) -> dict[str, Any]:
        """The fields of an event, but for the subjects."""
        return {
            "provider": self.provider,
            "dataset": self.dataset,
            "purpose": self.purpose,
            "legal_basis": self.legal_basis,
            "fields": self.fields,
            "period_from": self.period_from,
            "period_to": self.period_to,
            "urgency": self.urgency,
            "retention_days": self.retention_days,
            "case": self.case,
        }


def request_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that describe a request; the function gets a `Request` and the subjects."""

    @wraps(function)
    def wrapped(file: Path | None, subjects: Path, **values: Any) -> Any:
        described = {name: values.pop(name) for name in _DESCRIBED}
        given = {name: value for name, value in described.items() if value not in (None, ())}
        wanted = _read_request(file, given) if file else _make_request(given)
        names = read_subjects(subjects)
        if wanted.subject_count not in (None, len(names)):
            raise InvalidInput("request-subjects", f"{wanted.subject_count} != {len(names)}")
        return function(wanted=wanted, subjects=names, **values)

    decorated: Callable[..., Any] = wrapped
    for decorate in reversed(_OPTIONS):
        decorated = cast(Callable[..., Any], decorate(decorated))
    return decorated


_OPTIONS = (
    option("--file", type=FILE, help="option.file"),
    option("--to", "provider", help="option.to"),
    option("--dataset", help="option.dataset"),
    option("--purpose", help="option.purpose"),
    option("--legal-basis", help="option.legal_basis"),
    option("--field", "fields", multiple=True, help="option.field"),
    option("--from", "period_from", help="option.period_from"),
    option("--until", "period_to", help="option.period_to"),
    option("--subjects", type=FILE, required=True, help="option.subjects"),
    option(
        "--urgency", type=click.Choice(["normal", "urgent", "critical"]), help="option.urgency"
    ),
    option("--retention-days", type=click.IntRange(1, 36_500), help="option.retention"),
    option("--case", help="option.case"),
)  # fmt: skip
_DESCRIBED = (
    "provider", "dataset", "purpose", "legal_basis", "fields", "period_from", "period_to",
    "urgency", "retention_days", "case",
)  # fmt: skip


_OFFER_OPTIONS = (
    option("--to", "recipient", required=True, help="option.recipient"),
    option(
        "--manner",
        type=click.Choice(["spontaneous", "automatic"]),
        default="spontaneous",
        show_default=True,
        help="option.manner",
    ),
    option("--dataset", required=True, help="option.dataset"),
    option("--purpose", required=True, help="option.purpose"),
    option("--legal-basis", required=True, help="option.legal_basis"),
    option("--field", "fields", multiple=True, required=True, help="option.field"),
    option("--from", "period_from", required=True, help="option.period_from"),
    option("--until", "period_to", required=True, help="option.period_to"),
    option(
        "--urgency",
        type=click.Choice(["normal", "urgent", "critical"]),
        default="normal",
        help="option.urgency",
    ),
    option(
        "--retention-days", type=click.IntRange(1, 36_500), default=180, help="option.retention"
    ),
    option("--case", default="", help="option.case"),
)


def offer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say what is offered to whom; the function gets them by the names of the body."""
    for decorate in reversed(_OFFER_OPTIONS):
        function = decorate(function)
    return function


def check_requester(wanted: Request, member: str) -> None:
    """A file may say who asks. Raises `InvalidInput` where it is somebody else."""
    if wanted.requester not in ("", member):
        raise InvalidInput("request-member", f"{wanted.requester} != {member}")


def _read_request(path: Path, given: dict[str, Any]) -> Request:
    """The request in a file, which stands alone: no option may say a part of it."""
    if given:
        raise InvalidUsage("request-options", ", ".join(map(_option_name, given)))
    data = _read_file(path)
    try:
        return msgspec.json.decode(data, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("request-invalid", f"{path}: {error}") from None


def _make_request(given: dict[str, Any]) -> Request:
    """The request that the options describe."""
    fields = msgspec.structs.fields(Request)
    missing = [field.name for field in fields if field.required and field.name not in given]
    if missing:
        raise InvalidUsage("request-incomplete", ", ".join(map(_option_name, missing)))
    try:
        return msgspec.convert(given, Request)
    except msgspec.ValidationError as error:
        raise InvalidInput("event-body-invalid", str(error)) from None


def _option_name(name: str) -> str:
    return OPTION_NAMES.get(name, "--" + name.replace("_", "-"))


def read_subjects(path: Path) -> list[str]:
    """Different identifiers, one a line."""
    try:
        text = _read_file(path).decode()
    except UnicodeDecodeError:
        raise InvalidInput("subjects-invalid", f"{path}: UTF-8") from None
    names = [line.strip() for line in text.split("\n") if line.strip()]
    if not 1 <= len(names) <= SUBJECT_LINES_MAX or len(set(names)) != len(names):
        raise InvalidInput("subjects-invalid", str(path))
    return names


def _read_file(path: Path) -> bytes:
    from tools.founding import read_file

    return read_file(path, size_bytes_max=FILE_BYTES_MAX)
