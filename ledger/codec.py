r"""Canonical bytes: one value, one encoding.

Format (version 1). Every value of the ledger is a MessagePack map whose keys are the field names in
declared order, all present, nothing else. Integers, strings, byte strings, arrays and maps use
their shortest MessagePack form; there are no floats, no timestamps, no extension types. Text is
UTF-8. A value is read strictly: decode by type, encode again, and the bytes must be equal, so

    encode(decode(data)) == data        for every accepted `data`

and anything else is `InvalidEncoding`. Sizes are bounded before parsing, depth by the types.

Worked example, checked by a test (`Example(name="符", count=300, raw=b"\x01")`):

    83                      map of 3
      a4 6e616d65  a3 e7aca6          "name": "符"
      a5 636f756e74  cd 012c          "count": 300
      a3 726177  c4 01 01             "raw": h'01'
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import msgspec

from ledger.errors import InvalidEncoding


class Value(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=False,
    gc=False,
):
    """Base of every value with canonical bytes. Subclasses list their fields in wire order."""


T = TypeVar("T")

# MessagePack: an array whose length follows in four bytes.
_ARRAY = b"\xdd"


class Codec(Generic[T]):
    """Canonical encoding of one type, bounded by `size_bytes_max`."""

    def __init__(self, type_: type[T], *, size_bytes_max: int) -> None:
        self.size_bytes_max = size_bytes_max
        self._type = type_
        self._name = getattr(type_, "__name__", str(type_))
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(type_).decode

    def encode(self, value: T) -> bytes:
        """Canonical bytes of `value`. Raises `InvalidEncoding` if there are none, or too many."""
        try:
            data = self._encode(value)
        except (ValueError, OverflowError) as error:
            raise InvalidEncoding(f"{self._name}: {error}") from None
        if len(data) > self.size_bytes_max:
            raise InvalidEncoding(
                f"{self._name}: {len(data)} bytes, at most {self.size_bytes_max} are allowed"
            )
        return data

    def decode(self, data: bytes) -> T:
        """The value whose canonical bytes are `data`, or `InvalidEncoding`."""
        if len(data) > self.size_bytes_max:
            raise InvalidEncoding(
                f"{self._name}: {len(data)} bytes, at most {self.size_bytes_max} are allowed"
            )
        try:
            value = self._decode(data)
            canonical = self._encode(value)
        except (msgspec.DecodeError, RecursionError, ValueError, OverflowError) as error:
            raise InvalidEncoding(f"{self._name}: {error}") from None
        if canonical != data:
            raise InvalidEncoding(f"{self._name}: bytes are not in canonical form")
        return value

    def decode_all(self, items: Sequence[bytes]) -> list[T]:
        """What `decode` gives for each item, in half the time; `InvalidEncoding` for any fault.

        They are read as one array. Where one item ends and the next begins is not told by that, but
        by what each value encodes to.
        """
        if max(map(len, items), default=0) > self.size_bytes_max:
            raise InvalidEncoding(f"{self._name}: at most {self.size_bytes_max} bytes are allowed")
        try:
            values = self._decode_array(b"".join((_ARRAY, len(items).to_bytes(4, "big"), *items)))
            canonical = list(map(self._encode, values))
        except (msgspec.DecodeError, RecursionError, ValueError, OverflowError) as error:
            raise InvalidEncoding(f"{self._name}: {error}") from None
        if canonical != list(items):
            raise InvalidEncoding(f"{self._name}: bytes are not in canonical form")
        return values

    @cached_property
    def _decode_array(self) -> Callable[[bytes], list[T]]:
        return msgspec.msgpack.Decoder(list[self._type]).decode  # type: ignore[name-defined]  # a type of the run


class MemoCodec(Codec[T]):
    """A codec for values that are read back soon after they were written, and often.

    It keeps at least the last `kept` values by their bytes, and at most twice as many. Reading one
    of them gives what decoding its bytes would: `decode(encode(value)) == value`.
    """

    def __init__(self, type_: type[T], *, size_bytes_max: int, kept: int) -> None:
        super().__init__(type_, size_bytes_max=size_bytes_max)
        self._kept = kept
        self._young: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}

    def encode(self, value: T) -> bytes:
        """The same as that of a codec."""
        data = super().encode(value)
        self._keep(data, value)
        return data

    def decode(self, data: bytes) -> T:
        """The same as that of a codec."""
        value = self._young.get(data)
        if value is None:
            value = self._old.get(data)
            if value is None:
                value = super().decode(data)
            self._keep(data, value)
        return value

    def _keep(self, data: bytes, value: T) -> None:
        if len(self._young) >= self._kept:
            self._old, self._young = self._young, {}
        self._young[data] = value
