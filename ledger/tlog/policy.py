r"""Trust policies (c2sp.org/tlog-policy): which logs count, and whose cosignatures are enough.

Format. A file of lines, each ended by a newline; words are separated by spaces or tabs, empty
lines and lines starting with `#` are skipped. The bytes 0x00 to 0x1f (but tab and newline) and
0x7f are refused; everything above is opaque.

    log VKEY [URL]                      a log (type 0x01); any of them may sign
    witness NAME VKEY [URL]             a cosigning key (type 0x04 or 0x06)
    group NAME any|all|K MEMBER...      has cosigned if at least K of its members have
    quorum NAME|none                    exactly once: who must have cosigned

A member is a witness or a group defined on a line before, and belongs to one group only. A public
key is listed once. `format` writes logs, witnesses, groups, quorum, with K as a number.

Worked example, checked by a test:

>>> from ledger.tlog.checkpoint import cosign, sign_checkpoint
>>> from ledger.tlog.merkle import EMPTY_ROOT
>>> from ledger.tlog.note import SigningKey
>>> log = SigningKey(name="log.example", kind=0x01, seed=bytes(32))
>>> v1 = SigningKey(name="v1.example", kind=0x04, seed=b"\x01" * 32)
>>> policy = Policy.parse(
...     f"log {log.verifier.format()}\n"
...     f"witness V1 {v1.verifier.format()}\n"
...     "group validators all V1\n"
...     "quorum validators\n".encode()
... )
>>> tree = Checkpoint(origin="log.example", size=0, root=EMPTY_ROOT)
>>> note = sign_checkpoint(tree, log)
>>> policy.verify(note)
Traceback (most recent call last):
ledger.errors.InvalidCheckpoint: the quorum validators has not cosigned
>>> cosigned = SignedNote(text=note.text, signatures=(*note.signatures, cosign(tree, v1, 1)))
>>> policy.verify(cosigned) == tree
True
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ledger.errors import InvalidCheckpoint, InvalidEncoding
from ledger.tlog.checkpoint import (
    Checkpoint,
    decode_decimal,
    verify_checkpoint,
    verify_cosignatures,
)
from ledger.tlog.note import ED25519, SignedNote, VerifierKey

POLICY_BYTES_MAX = 1 << 20
LOGS_MAX = 32
WITNESSES_MAX = 256
GROUPS_MAX = 64
NO_QUORUM = "none"

_TAB, _NEWLINE, _SPACE, _DELETE = 0x09, 0x0A, 0x20, 0x7F


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log whose checkpoints count."""

    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A cosigning key and its name inside the policy."""

    name: str
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """`threshold` of `members` (names of witnesses and earlier groups) are enough."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A consistent policy: construction raises `InvalidEncoding` for any other."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __post_init__(self) -> None:
        _verify_count("logs", self.logs, LOGS_MAX)
        _verify_count("witnesses", self.witnesses, WITNESSES_MAX)
        _verify_count("groups", self.groups, GROUPS_MAX)
        _verify_keys([item.key for item in self.logs], is_log=True)
        _verify_keys([item.key for item in self.witnesses], is_log=False)
        urls = (*(log.url for log in self.logs), *(item.url for item in self.witnesses))
        for url in filter(None, urls):
            _verify_word(url)
        defined: set[str] = {NO_QUORUM}
        for witness in self.witnesses:
            _define(witness.name, defined)
        free = defined - {NO_QUORUM}
        for group in self.groups:
            if not 1 <= group.threshold <= len(group.members):
                raise InvalidEncoding(f"the threshold of {group.name} is 1 to its member count")
            for member in group.members:
                if member not in free:
                    raise InvalidEncoding(f"{member} is not defined or is in a group already")
                free.remove(member)
            _define(group.name, defined)
            free.add(group.name)
        if self.quorum not in defined:
            raise InvalidEncoding(f"the quorum {self.quorum} is not defined")

    def verify(self, note: SignedNote) -> Checkpoint:
        """The checkpoint in `note`, if it meets the policy.

        1. The text is a checkpoint.
        2. A log with its origin as name signed it.
        3. Each line of a known witness verifies.
        4. The quorum has cosigned.

        Raises `InvalidEncoding`, `InvalidCheckpoint` or `InvalidSignature`.
        """
        checkpoint = Checkpoint.parse(note.text)  # 1
        keys = [item.key for item in self.logs if item.key.name == checkpoint.origin]
        signed = [key for key in keys if note.find_signature(key) is not None]
        if not signed:
            raise InvalidCheckpoint(f"no known log {checkpoint.origin} has signed")
        for key in signed:
            verify_checkpoint(note, key)  # 2
        times_s = verify_cosignatures(note, [item.key for item in self.witnesses])  # 3
        cosigners = {item.name for item in self.witnesses if item.key in times_s}
        if not self.is_quorum(cosigners):  # 4
            raise InvalidCheckpoint(f"the quorum {self.quorum} has not cosigned")
        return checkpoint

    def is_quorum(self, names: Collection[str]) -> bool:
        """Whether the witnesses with these names are enough."""
        if self.quorum == NO_QUORUM:
            return True
        present = set(names)
        for group in self.groups:
            if sum(member in present for member in group.members) >= group.threshold:
                present.add(group.name)
        return self.quorum in present

    def format(self) -> bytes:
        """Bytes of the policy file."""
        lines: list[tuple[str, ...]] = []
        lines += [("log", item.key.format(), item.url) for item in self.logs]
        lines += [("witness", w.name, w.key.format(), w.url) for w in self.witnesses]
        lines += [("group", g.name, str(g.threshold), *g.members) for g in self.groups]
        lines.append(("quorum", self.quorum))
        text = "".join(" ".join(filter(None, words)) + "\n" for words in lines)
        return text.encode("utf-8", "surrogateescape")

    @staticmethod
    def parse(data: bytes) -> "Policy":
        """The policy in the file `data`, or `InvalidEncoding` or `InvalidKey`."""
        if len(data) > POLICY_BYTES_MAX:
            raise InvalidEncoding(f"a policy has at most {POLICY_BYTES_MAX} bytes")
        if any(_is_control(byte) for byte in data):
            raise InvalidEncoding("a policy has no control characters other than tab and newline")
        if not data.endswith(b"\n"):
            raise InvalidEncoding("the last line of a policy ends with a newline")
        draft = _Draft()
        for number, line in enumerate(data[:-1].split(b"\n"), 1):
            # Without control characters this splits at spaces and tabs only.
            words = [word.decode("utf-8", "surrogateescape") for word in line.split()]
            if words and not words[0].startswith("#"):
                draft.read(words, number)
        return draft.finish()


class _Draft:
    """The lines of a policy file read so far."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._defined: set[str] = {NO_QUORUM}

    def read(self, words: Sequence[str], number: int) -> None:
        """One line that is not empty."""
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self._logs.append(Log(key=VerifierKey.parse(vkey), url="".join(url)))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                key = VerifierKey.parse(vkey)
                self._witnesses.append(Witness(name=name, key=key, url="".join(url)))
                self._defined.add(name)
            case ["group", name, threshold, *members] if members:
                self._verify_defined(members)
                count = {"any": 1, "all": len(members)}.get(threshold)
                count = decode_decimal(threshold) if count is None else count
                self._groups.append(Group(name=name, threshold=count, members=tuple(members)))
                self._defined.add(name)
            case ["quorum", name] if self._quorum is None:
                self._verify_defined((name,))
                self._quorum = name
            case _:
                raise InvalidEncoding(f"line {number} of the policy cannot be understood")

    def finish(self) -> Policy:
        """The policy in the lines read."""
        if self._quorum is None:
            raise InvalidEncoding("a policy names its quorum")
        return Policy(
            logs=tuple(self._logs),
            witnesses=tuple(self._witnesses),
            groups=tuple(self._groups),
            quorum=self._quorum,
        )

    def _verify_defined(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._defined:
                raise InvalidEncoding(f"{name} is not defined on a line before")


def _is_control(byte: int) -> bool:
    return (byte < _SPACE and byte not in (_TAB, _NEWLINE)) or byte == _DELETE


def _verify_count(what: str, items: Collection[object], count_max: int) -> None:
    if len(items) > count_max:
        raise InvalidEncoding(f"a policy has at most {count_max} {what}")


def _verify_keys(keys: Sequence[VerifierKey], *, is_log: bool) -> None:
    if any((key.kind == ED25519) != is_log for key in keys):
        raise InvalidEncoding("a log has a key of type 0x01, a witness one of type 0x04 or 0x06")
    if len({key.raw for key in keys}) != len(keys):
        raise InvalidEncoding("a public key is listed twice")


def _verify_word(word: str) -> None:
    try:
        data = word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidEncoding("a name or URL is bytes, or UTF-8") from error
    if not data or any(byte <= _SPACE or byte == _DELETE for byte in data):
        raise InvalidEncoding("a name or URL has no spaces and no control characters")


def _define(name: str, defined: set[str]) -> None:
    _verify_word(name)
    if name in defined:
        raise InvalidEncoding(f"{name} is defined twice")
    defined.add(name)
