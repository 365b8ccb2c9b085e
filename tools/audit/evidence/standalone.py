"""Check this bundle with nothing but Python 3.10 or later and openssl 1.1.1 or later.

    python3 -I verify.py GENESIS_HASH [FOLDER]

GENESIS_HASH is the network id (64 hex digits) from a source that you trust; FOLDER is by default
that of this file. The exit code is 0: it holds, 3: it does not, 1: it could not be told. The
contracts are not asked again here: `tally audit verify-evidence` does it.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

STEPS = (
    "files: those listed, each with its SHA-256 | 文件均在清单中，哈希相符",
    "genesis: has the hash given | 创世文件的哈希与所给一致",
    "epochs: each list of validators is proven by the one before | 历届验证者名单均由前一届证明",
    "checkpoint: signed by the log, cosigned by a quorum | 检查点由日志签名、法定多数联署",
    "receipts: every entry is in the log (RFC 6962) | 每个条目均在日志中",
    "events: of this exchange or a vote, signed, in their block | 事件属于本次共享或表决，签名有效",
    "keys: of genesis, or added by a vote that is here | 密钥来自创世文件或此处的表决",
    "contracts: those that the decisions name | 合约即各裁定所列者",
)
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: an Ed25519 public key follows
# MessagePack: single values, and how many bytes tell a number or a length.
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_TAGS = bytes.fromhex("c4c5c6cccdcecfd9dadbdcdddedf")
WIDTHS = dict(zip(_TAGS, map(int, "12412481242424"), strict=True))
# RFC 8032 section 7.1, test 2: key, message, signature.
SAMPLE = bytes.fromhex(
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c72"
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def fail(text: str) -> NoReturn:
    """End the step: something is not as it should be."""
    raise ValueError(text)


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The MessagePack value at `at`, and where it ends. Of a map also the bytes of each value."""
    tag, at = data[at], at + 1
    if tag <= 0x7F or tag in CONSTANTS:
        return CONSTANTS.get(tag, tag), at
    count = tag & (0x1F if tag >= 0xA0 else 0x0F)
    if tag >= 0xC0:
        count = int.from_bytes(data[at : at + WIDTHS[tag]], "big")
        at += WIDTHS[tag]
    if 0xCC <= tag <= 0xCF:
        return count, at
    if 0xA0 <= tag <= 0xDB:
        raw = data[at : at + count]
        return (raw if 0xC4 <= tag <= 0xC6 else raw.decode()), at + count
    is_list = 0x90 <= tag <= 0x9F or tag in (0xDC, 0xDD)
    found: dict[Any, Any] = {}
    for number in range(count):
        name, start = (number, at) if is_list else unpack(data, at)
        found[name], at = unpack(data, start)
        if not is_list:
            found[name, "bytes"] = data[start:at]
    return list(found.values()) if is_list else found, at


def decode(data: bytes) -> Any:
    """The one value that the bytes hold."""
    value, end = unpack(data)
    return value if end == len(data) else fail("bytes after the end of a value | 值之后还有字节")


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether openssl accepts an Ed25519 signature."""
    command = "openssl pkeyutl -verify -pubin -keyform DER -rawin -inkey key -in text -sigfile sig"
    with tempfile.TemporaryDirectory() as name:
        for file, data in (("key", SPKI + key), ("text", message), ("sig", signature)):
            Path(name, file).write_bytes(data)
        done = subprocess.run(command.split(), cwd=name, capture_output=True, check=False)  # noqa: S603 - ours
    return done.returncode == 0


def root_of(leaf_hash: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Root of the tree that an inclusion proof leads to (RFC 6962 section 2.1.1)."""
    if size == 1:
        return leaf_hash if index == 0 and not path else fail("another shape | 形式不合")
    split = 1 << (size - 1).bit_length() - 1
    *below, other = path
    if index < split:
        return sha256(b"\x01", root_of(leaf_hash, index, split, below), other)
    return sha256(b"\x01", other, root_of(leaf_hash, index - split, size - split, below))


def read_note(note: bytes, genesis: Any, validators: list[Any]) -> tuple[int, bytes]:
    """Size and root of a checkpoint that the log signed and a quorum cosigned."""
    text, _, tail = note.decode().rpartition("\n\n")
    text += "\n"
    origin, number, root = text.split("\n")[:3]
    if origin != genesis["origin"] or text.count("\n") != 3 or str(int(number)) != number:
        fail("not a checkpoint of this log | 不是本日志的检查点")
    lines: dict[tuple[str, bytes], bytes] = {}
    for line in tail.rstrip("\n").split("\n"):
        name, _, value = line[2:].partition(" ")
        raw = base64.b64decode(value, validate=True)
        if not line.startswith("\u2014 ") or (name, raw[:4]) in lines:
            fail("not a signature line | 不是签名行")
        lines[name, raw[:4]] = raw[4:]
    log = genesis["log_key"][1:]
    hint = sha256(origin.encode(), b"\n\x01", log)[:4]
    if not is_signed(log, text.encode(), lines.get((origin, hint), b"")):
        fail("the log has not signed the checkpoint | 日志未签署检查点")
    cosigned = set()
    for each in validators:
        name, key = f"{origin}/{each['member']}", each["cosigning_key"][1:]
        raw = lines.get((name, sha256(name.encode(), b"\n\x04", key)[:4]), b"")
        time_s = int.from_bytes(raw[:8], "big")
        message = f"cosignature/v1\ntime {time_s}\n{text}".encode()
        if raw and not is_signed(key, message, raw[8:]):
            fail(f"the cosignature of {name} does not verify | 该联署不符")
        cosigned |= {key} if raw else set()
    if len(cosigned) < len(validators) - (len(validators) - 1) // 3:
        fail(f"only {len(cosigned)} validators have cosigned | 联署不足")
    return int(number), base64.b64decode(root, validate=True)


def check_files(folder: Path) -> None:
    """Step 1."""
    seen = {"tagmanifest-sha256.txt"}
    for manifest in ("tagmanifest-sha256.txt", "manifest-sha256.txt"):
        for line in (folder / manifest).read_text("utf-8").rstrip("\n").split("\n"):
            digest, _, name = line.partition("  ")
            seen.add(name)
            if sha256((folder / name).read_bytes()).hex() != digest:
                fail(f"{name} is not the file that is listed | 文件与清单不符")
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    if others := {path.relative_to(folder).as_posix() for path in paths} - seen:
        fail(f"not listed | 不在清单中: {', '.join(sorted(others))}")


def hash_keys(validators: list[Any]) -> bytes:
    """What the headers of an epoch say of its validators."""
    keys = (each["consensus_key"] for each in validators)
    return sha256(b"tallystick/validators/v1\0", *keys)


def follow_epochs(data: Path, genesis: Any, network: bytes) -> list[list[Any]]:
    """Step 3: the validators of each epoch."""
    epochs, number = [genesis["validators"]], 0
    while (data / "epochs" / str(number)).exists():
        proof = decode((data / "epochs" / str(number)).read_bytes())
        header, leaf = decode(proof["header"]), sha256(b"\0", proof["header"])
        following = sha256(b"tallystick/validator-list/v1\0", proof["validators", "bytes"])
        size, root = read_note(proof["checkpoint"], genesis, epochs[-1])
        if (
            (proof["epoch"], header["epoch"], header["network"]) != (number, number, network)
            or header["validators_hash"] != hash_keys(epochs[-1])
            or header["next_validators"] != following
            or size != header["tree_size"] + 1 + header["record_count"]
            or root_of(leaf, header["tree_size"], size, proof["path"]) != root
        ):
            fail(f"the proof of epoch {number} | 该纪元的证明")
        epochs.append(proof["validators"])
        number += 1
    return epochs


def read_entry(data: Path, index: int, size: int, root: bytes) -> bytes:
    """Step 5 for one entry."""
    entry = (data / f"entries/{index}.entry").read_bytes()
    head, _, note = (data / f"entries/{index}.tlog-proof").read_bytes().partition(b"\n\n")
    start = f"c2sp.org/tlog-proof@v1\nindex {index}\n".encode()
    lines = (head + b"\n").removeprefix(start).split(b"\n")[:-1]
    path = [base64.b64decode(line, validate=True) for line in lines]
    leads_to = root_of(sha256(b"\0", entry), index, size, path)
    if note != (data / "checkpoint").read_bytes() or leads_to != root:
        fail(f"entry {index} is not in the log | 条目不在日志中")
    return entry


def read_events(entries: Any, exchange: bytes, network: bytes, epochs: Any) -> list[Any]:
    """Step 6: records with their envelopes."""
    block, found, opened = None, [], False
    for index, entry in sorted(entries.items()):
        value = decode(entry)
        if value["entry"] == 1:
            block = value
            own = (block["tree_size"], block["network"], block["validators_hash"])
            if own != (index, network, hash_keys(epochs[block["epoch"]])):
                fail(f"the block of entry {index} | 条目的区块不符")
            continue
        if block is None or index > block["tree_size"] + block["record_count"]:
            fail(f"the block of entry {index} is missing | 缺少条目的区块")
        event = decode(value["event"])
        envelope, digest = decode(event["payload"]), sha256(value["event"])
        message = b"tallystick/event/v1\0" + event["payload"]
        if not is_signed(envelope["officer"][1:], message, event["signature"][1:]):
            fail(f"the signature of event {index} | 事件的签名不符")
        subject = exchange if digest == exchange else envelope["body"].get("exchange", b"")
        is_vote = envelope["kind"].startswith("governance.")
        if envelope["network"] != network or not (is_vote or subject == exchange):
            fail(f"event {index} is of something else | 事件与此无关")
        found.append((value, envelope))
        opened |= digest == exchange
    return found if opened else fail("the opening event is missing | 缺少开启共享的事件")


def check_keys(events: list[Any], genesis: Any) -> None:
    """Step 7."""
    known = {each["key"]: each["member"] for each in genesis["officers"]}
    proposed: dict[bytes, list[Any]] = {}
    for record, envelope in events:
        kind, body = envelope["kind"], envelope["body"]
        if known.get(envelope["officer"]) != envelope["member"]:
            fail(f"the key | 密钥 {envelope['officer'][1:].hex()} {envelope['member']}")
        if kind == "governance.proposed" and record["outcome"]["applied"]:
            proposed[sha256(record["event"])] = body["actions"]
        if kind == "governance.balloted" and record["outcome"]["applied"] and body["approve"]:
            for action in proposed.get(body["proposal"], []):
                known.update(added_keys(action))


def added_keys(action: Any) -> dict[bytes, str]:
    """Keys that an action of governance makes an officer's, with the member."""
    if action["action"] == "member.admit":
        return {e["key"]: action["application"]["id"] for e in action["application"]["keys"]}
    if action["action"] == "officer.add":
        return {action["officer"]["key"]: action["member"]}
    if action["action"] == "officer.rotate":
        rotation = action["statement"]["rotation"]
        return {rotation["new_key"]: rotation["member"]}
    return {}


def check(folder: Path, network: bytes) -> Iterator[None]:
    """The steps in order, a yield after each."""
    data = folder / "data"
    check_files(folder)
    yield
    founding = (data / "genesis.msgpack").read_bytes()
    if sha256(b"tallystick/genesis/v1\0", founding) != network:
        fail("another network | 另一网络")
    yield
    genesis = decode(founding)
    epochs = follow_epochs(data, genesis, network)
    yield
    size, root = read_note((data / "checkpoint").read_bytes(), genesis, epochs[-1])
    yield
    contents = json.loads((data / "evidence.json").read_bytes())
    entries = {index: read_entry(data, index, size, root) for index in contents["entries"]}
    yield
    events = read_events(entries, bytes.fromhex(contents["exchange"]), network, epochs)
    yield
    check_keys(events, genesis)
    yield
    for named in sorted({record["outcome"]["policy_set"] for record, _ in events} - {b""}):
        text = (data / f"contracts/{named.hex()}/policy-set.msgpack").read_bytes()
        if sha256(b"tallystick/policy-set/v1\0", text) != named:
            fail(f"the contracts | 合约 {named.hex()}")
    yield


def say(text: str) -> None:
    """Print, whatever characters the terminal has."""
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "replace") + b"\n")


def main(arguments: list[str]) -> int:
    """Run the steps; the exit code."""
    try:
        network = bytes.fromhex("".join(arguments[:1]))
        folder = Path(arguments[1]) if arguments[1:] else Path(__file__).resolve().parent
        if len(network) != 32 or not is_signed(SAMPLE[:32], SAMPLE[32:33], SAMPLE[33:]):
            fail("GENESIS_HASH of 64 digits; openssl with Ed25519 | 需要 openssl")
    except (LookupError, ValueError, OSError) as error:
        say(f"could not tell | 无法判断: {error}\n\n{__doc__}")
        return 1
    step = iter(STEPS)
    try:
        for _ in check(folder, network):
            say(f"ok {next(step)}")
    except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        say(f"NOT VERIFIED | 验证失败: {next(step)}: {error}")
        return 3
    say("verified | 验证通过")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
