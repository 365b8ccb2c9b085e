"""Errors of `node.records`: one root; the words of the codes stand in `node.records.words`."""


class RecordsError(Exception):
    """Root of every error raised by `node.records`; `detail` never holds a value of a record."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class InvalidSchema(RecordsError):
    """A record schema is not one: `detail` names the place and what is wrong there."""


class InvalidSource(RecordsError):
    """The source as a whole cannot be used; what was put out of it before is void."""
