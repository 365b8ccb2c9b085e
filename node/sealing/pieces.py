"""Bytes that came in pieces and are taken out in others, without a copy where they agree."""

from collections import deque


class Pieces:
    """A queue of bytes. Its length is the number of bytes in it."""

    __slots__ = ("_length", "_views")

    def __init__(self) -> None:
        self._views: deque[memoryview] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, piece: bytes) -> None:
        """Put a piece at the end; it is kept, not copied."""
        if piece:
            self._views.append(memoryview(piece))
            self._length += len(piece)

    def peek(self, size: int) -> bytes | memoryview:
        """The first `size` bytes, of at least as many; they stay."""
        if self._views and len(self._views[0]) >= size:
            return self._views[0][:size]
        found: list[memoryview] = []
        for view in self._views:
            found.append(view[:size])
            size -= len(found[-1])
            if not size:
                break
        return b"".join(found)

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes, of at least as many."""
        self._length -= size
        while size:
            view = self._views.popleft()
            if len(view) > size:
                self._views.appendleft(view[size:])
            size -= min(size, len(view))

    def clear(self) -> None:
        """Forget all."""
        self._views.clear()
        self._length = 0
