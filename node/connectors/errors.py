"""Errors of `node.connectors`: one root; the words of the codes stand in its `words`."""


class ConnectorsError(Exception):
    """Root of every error raised by `node.connectors`; `detail` never holds a value of a record."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class InvalidOptions(ConnectorsError):
    """A connector or receiver cannot be made as the configuration says."""


class ConnectorFailed(ConnectorsError):
    """No records now; `retry` tells whether the same ask may succeed later by itself."""

    def __init__(self, code: str, detail: str = "", *, retry: bool) -> None:
        super().__init__(code, detail)
        self.retry = retry


class ReceiverFailed(ConnectorsError):
    """Not taken over; `retry` tells whether the same delivery may succeed later by itself."""

    def __init__(self, code: str, detail: str = "", *, retry: bool) -> None:
        super().__init__(code, detail)
        self.retry = retry
