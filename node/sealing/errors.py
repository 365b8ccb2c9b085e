"""The one error of sealed payloads."""

from node.errors import NodeError


class InvalidPayload(NodeError):
    """A sealed payload must not be used; `code` says why, `values` fill the words of the code."""

    def __init__(self, code: str, **values: str) -> None:
        super().__init__(", ".join([code, *(f"{name} {text}" for name, text in values.items())]))
        self.code = code
        self.values = values
