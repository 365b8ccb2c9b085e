"""Exit codes of `tally` and the errors that carry them.

One root class, `ToolError`. `code` is stable and for programs; what it is called and what to do
about it stands in the catalogues of `tools.words`. The text of an error is only what was found.
"""

from collections.abc import Mapping
from types import MappingProxyType

OK = 0
ERROR = 1
USAGE = 2
UNVERIFIED = 3
DENIED = 4
NOT_FOUND = 5
UNREACHABLE = 6
WARNING = 7

NO_FACTS: Mapping[str, object] = MappingProxyType({})


class ToolError(Exception):
    """Root of every error raised by `tools`; `exit_code` is what the process returns.

    `detail` names the path, value or entry in question. `title` and `advice` are a node's own
    words, shown where the catalogues have none for its code. `facts` is the same as `detail`, for
    programs.
    """

    exit_code = ERROR

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        title: str = "",
        advice: str = "",
        facts: Mapping[str, object] = NO_FACTS,
    ) -> None:
        super().__init__(detail)
        self.facts = facts
        self.code = code
        self.detail = detail
        self.title = title
        self.advice = advice


class Interrupted(ToolError):
    """Ctrl-C, or SIGTERM where a command takes it for one, before the work was done."""


class InvalidUsage(ToolError):
    """Options that do not go together, or too few of them."""

    exit_code = USAGE


class InvalidInput(ToolError):
    """A file, folder or argument that the user named cannot be used."""


class FailedNode(ToolError):
    """A node process ended, did not start or did not stop."""


class RefusedEvent(ToolError):
    """The network did not take the event; `code` is the reason that it gave."""


class NotYetFinal(ToolError):
    """The outcome was not known when the time was over; ask again by digest."""


class InvalidAnswer(ToolError):
    """What a node returned does not verify or is not what was asked."""

    exit_code = UNVERIFIED


class Denied(ToolError):
    """The contracts denied the request."""

    exit_code = DENIED


class NotFound(ToolError):
    """The thing asked for does not exist."""

    exit_code = NOT_FOUND


class Unreachable(ToolError):
    """No answer from the node within the time allowed."""

    exit_code = UNREACHABLE
