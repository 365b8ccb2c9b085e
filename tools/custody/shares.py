r"""Shares of a secret key: any k of n restore it, fewer tell nothing.

The sharing is SLIP-39 (Shamir over GF(256), one group, no pass phrase, iteration exponent 0) by its
reference implementation, so that a key can be restored without this program. A share carries a set
number, its own number, k, and a checksum that finds any three wrong words; the sharing itself
carries a digest that finds a share which does not belong. The text adds what people want to know:

    tallystick key share 2 of 5: any 3 restore the key
    key: ed25519:03a1..
    fingerprint: cb39f0f6d246b033
    words:
      academic acid acrobat romp ...

The words are case-blind and may be broken anywhere. The key is checked against what they restore.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share

from ledger.custody.keystore import Algorithm, describe_secret
from ledger.errors import InvalidKey
from tools.exits import InvalidInput

SHARES_MAX = 16
SHARE_BYTES_MAX = 4_096
WORDS_A_LINE = 6
_TEXT = re.compile(
    r"tallystick key share (\d{1,2}) of (\d{1,2}): any (\d{1,2}) restore the key\n"
    r"key: ((ed25519|p256|mlkem768-x25519):[0-9a-f]{64,2432})\n"
    r"fingerprint: [0-9a-f]{16}\n"
    r"words:\n([A-Za-z\s]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """One share: its number from 1 on, how many are needed, of which key, and the words."""

    number: int
    threshold: int
    public_key: str
    algorithm: Algorithm
    set_id: int
    words: str


def split_secret(
    secret: bytes, algorithm: Algorithm, *, threshold: int, shares: int
) -> tuple[str, ...]:
    """Texts of fresh shares. Raises `InvalidInput`."""
    if not 2 <= threshold <= shares <= SHARES_MAX:
        raise InvalidInput("shares-count", f"2 <= {threshold} <= {shares} <= {SHARES_MAX}")
    public_key, fingerprint = describe_secret(secret, algorithm)
    [group] = generate_mnemonics(1, [(threshold, shares)], secret, iteration_exponent=0)
    texts = []
    for number, mnemonic in enumerate(group, start=1):
        words = mnemonic.split(" ")
        lines = [
            "  " + " ".join(words[at : at + WORDS_A_LINE])
            for at in range(0, len(words), WORDS_A_LINE)
        ]
        head = (
            f"tallystick key share {number} of {shares}: any {threshold} restore the key\n"
            f"key: {public_key}\nfingerprint: {fingerprint}\nwords:\n"
        )
        texts.append(head + "\n".join(lines) + "\n")
    return tuple(texts)


def parse_share(data: bytes, name: str) -> KeyShare:
    """The share in a file. Raises `InvalidInput`, which never quotes the words."""
    try:
        match = _TEXT.fullmatch(data[: SHARE_BYTES_MAX + 1].decode("ascii").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        match = None
    if match is None or len(data) > SHARE_BYTES_MAX:
        raise InvalidInput("share-invalid", name)
    words = " ".join(match[6].lower().split())
    try:
        share = Share.from_mnemonic(words)
    except MnemonicError:
        raise InvalidInput("share-damaged", name) from None
    number, threshold = int(match[1]), int(match[3])
    is_ours = (
        (share.index + 1, share.member_threshold) == (number, threshold)
        and (share.group_index, share.group_threshold, share.group_count) == (0, 1, 1)
        and share.iteration_exponent == 0
        and len(share.value) == 32
    )
    if not is_ours:
        raise InvalidInput("share-damaged", name)
    return KeyShare(
        number=number,
        threshold=threshold,
        public_key=match[4],
        algorithm=cast("Algorithm", match[5]),
        set_id=share.identifier,
        words=words,
    )


def combine_shares(shares: Sequence[KeyShare]) -> bytes:
    """The secret that enough shares of one set restore. Raises `InvalidInput`."""
    if not shares:
        raise InvalidInput("shares-too-few", "0")
    first = shares[0]
    same = (first.set_id, first.threshold, first.public_key)
    if any((each.set_id, each.threshold, each.public_key) != same for each in shares):
        raise InvalidInput("shares-mixed", first.public_key)
    by_number = {each.number: each.words for each in shares}
    if len(by_number) < first.threshold:
        raise InvalidInput("shares-too-few", f"{len(by_number)} < {first.threshold}")
    chosen = [by_number[number] for number in sorted(by_number)[: first.threshold]]
    try:
        secret: bytes = combine_mnemonics(chosen)
        public_key, _ = describe_secret(secret, first.algorithm)
    except (MnemonicError, InvalidKey):
        public_key, secret = "", b""
    if public_key != first.public_key:
        raise InvalidInput("shares-mixed", first.public_key)
    return secret
