"""Exit codes of `tally` and the errors that carry them.

One root class, `ToolError`. `code` is stable and for programs; the text is for people.
"""

OK = 0
ERROR = 1
USAGE = 2
UNVERIFIED = 3
DENIED = 4
NOT_FOUND = 5
UNREACHABLE = 6


class ToolError(Exception):
    """Root of every error raised by `tools`; `exit_code` is what the process returns."""

    exit_code = ERROR

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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
