"""Errors of `node.crs`: one root; the words of the codes stand in `node.crs.words`."""


class CrsError(Exception):
    """Root of every error raised by `node.crs`; `detail` never holds a value of a record."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class InvalidDocument(CrsError):
    """XML that is not safe or not well-formed; `line` is where, from 1."""

    def __init__(self, code: str, line: int) -> None:
        super().__init__(code, f"line {line}")
        self.line = line


class InvalidSchemaFolder(CrsError):
    """A schema folder is not what its manifest says; `detail` names the file."""


class InvalidStatus(CrsError):
    """A status message cannot be read or written."""


class InvalidKey(CrsError):
    """A key file cannot be used."""


class InvalidPackage(CrsError):
    """A package cannot be opened. `status` is the code that the sender is told."""

    def __init__(self, code: str, detail: str, status: int) -> None:
        super().__init__(code, detail)
        self.status = status
