"""A queue of bytes behaves as one byte string would."""

from hypothesis import given
from hypothesis import strategies as st

from node.sealing.pieces import Pieces


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 12))))
def test_it_is_one_byte_string(steps: list[tuple[bytes, int]]) -> None:
    pieces, naive = Pieces(), b""
    for piece, wanted in steps:
        pieces.append(piece)
        naive += piece
        size = min(wanted, len(naive))
        assert bytes(pieces.peek(size)) == naive[:size]
        pieces.drop(size)
        naive = naive[size:]
        assert len(pieces) == len(naive)
    pieces.clear()
    assert len(pieces) == 0
    assert bytes(pieces.peek(0)) == b""
