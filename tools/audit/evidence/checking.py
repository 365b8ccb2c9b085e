"""Check a bundle without its log and without a network.

1. bag          The zip file holds one bag, and its files have the hashes in its manifests.
2. genesis      Its hash is the network id that the caller trusts.
3. epochs       Each proof leads from the validators of one epoch to the next.
4. checkpoint   The log signed it, and a quorum of the validators of its epoch cosigned it.
5. receipts     Every entry is in the tree of that checkpoint.
6. events       Each stands in its block, of a proven epoch, is signed by the key it names, and the
                first opened the exchange.
7. signers      Each key was an active officer's of an active member at that height, by genesis and
                by the proposals in the bundle.
8. decisions    The contracts, whose hash the record names, asked with the facts in the bundle, give
                the recorded decision; facts and event do not contradict each other.
9. files        Made again from what is now proven, every file, and the zip file, is as it was.

`verify_bundle` returns what it has checked or raises: `InvalidAnswer` for a bundle that is not what
it claims, `InvalidInput` where this program cannot tell.
"""

import io
import struct
import zipfile
from collections.abc import Mapping

import msgspec

from contracts.engine import hash_policy_set
from ledger.errors import LedgerError
from ledger.events import ShareOpening
from ledger.exchange.bodies import ShareOffered
from ledger.genesis import GENESES, hash_genesis, verify_genesis
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain, EpochProof, epoch_path
from ledger.quorum.lists import hash_consensus_keys
from ledger.registry import POLICY_SETS, PolicySet
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import hash_leaf, verify_inclusion
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt
from tools.audit.evidence.bundle import (
    AGENT,
    BAGIT,
    DATA,
    FORMAT_VERSION,
    Contents,
    Evidence,
    Proven,
    folder_name,
    make_files,
    make_manifest,
    pack,
)
from tools.audit.evidence.facts import Asked, decode_asked, encode_asked
from tools.audit.evidence.standing import Standing, find_standings
from tools.audit.evidence.story import Story, invalid_bundle
from tools.exits import InvalidInput

FILES_MAX = 20_000

_MANIFEST, _TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
_SUMS = ("bag-info.txt", _MANIFEST, _TAG_MANIFEST)
# What the library raises for bytes that are no zip file; RuntimeError: one that is encrypted.
_NO_ZIP = (
    zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, LookupError, OverflowError,
    struct.error,
)  # fmt: skip
_CONTENTS = msgspec.json.Decoder(Contents)


def verify_bundle(data: bytes, network: bytes) -> Evidence:
    """Steps 1 to 9."""
    content = _read_bag(data)  # 1
    contents = _read_contents(content)
    evidence = _read_evidence(content, contents)
    found = hash_genesis(evidence.genesis)
    if found != network:  # 2
        raise invalid_bundle(f"genesis: network {found.hex()}, not {network.hex()}")
    _verify_receipts(evidence)  # 3, 4, 5
    story = evidence.story()  # 6
    _verify_blocks(evidence, story)  # 6
    _verify_facts(evidence, story, find_standings(evidence.genesis, story))  # 7, 8
    _compare(content, make_files(evidence), evidence.agent)  # 8, 9
    if pack(content, folder_name(evidence.exchange)) != data:  # 9
        raise invalid_bundle("the zip file is not the one that these files make")
    return evidence


def _read_bag(data: bytes) -> dict[str, bytes]:
    """Step 1: the files of the bag by their paths in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            if any(each.compress_type != zipfile.ZIP_STORED for each in listed):
                raise invalid_bundle("a file in it is compressed")
            if len(listed) > FILES_MAX or sum(each.file_size for each in listed) > len(data):
                raise invalid_bundle("its files are more than it holds")
            named = [(each.filename, archive.read(each)) for each in listed]
    except _NO_ZIP as error:
        raise invalid_bundle(f"not the zip file of a bundle: {error}") from None
    folders = {name.partition("/")[0] for name, _ in named}
    content = {name.partition("/")[2]: data for name, data in named}
    if len(folders) != 1 or len(content) != len(named):
        raise invalid_bundle("not one folder, or a file stands twice in it")
    payload = {name: data for name, data in content.items() if name.startswith(DATA)}
    tags = {n: data for n, data in content.items() if n not in payload and n != _TAG_MANIFEST}
    if tags.get("bagit.txt") != BAGIT:
        raise invalid_bundle("bagit.txt: not a bag")
    for name, expected in (
        (_MANIFEST, make_manifest(payload)),
        (_TAG_MANIFEST, make_manifest(tags)),
    ):
        if content.get(name) != expected:
            raise invalid_bundle(f"{name}: the files are not those listed")
    return content


def _read_contents(content: Mapping[str, bytes]) -> Contents:
    try:
        contents = _CONTENTS.decode(_file(content, "evidence.json"))
    except (msgspec.DecodeError, ValueError) as error:
        raise invalid_bundle(f"evidence.json: {error}") from None
    if contents.format != FORMAT_VERSION:
        raise InvalidInput("bundle-version", str(contents.format))
    return contents


def _read_evidence(content: Mapping[str, bytes], contents: Contents) -> Evidence:
    """The evidence in the files. What else they say is compared later."""
    name = ""
    try:
        name = "evidence.json"
        exchange = bytes.fromhex(contents.exchange)
        name = "genesis.msgpack"
        genesis = GENESES.decode(_file(content, name))
        verify_genesis(genesis)
        name = "checkpoint"
        note = SignedNote.parse(_file(content, name))
        entries = {}
        for index in contents.entries:
            name = f"entries/{index}.tlog-proof"
            receipt = Receipt.parse(_file(content, name))
            name = f"entries/{index}.entry"
            entries[index] = Proven(data=_file(content, name), path=receipt.proof)
        return Evidence(
            exchange=exchange,
            genesis=genesis,
            proofs=_read_proofs(content),
            note=note,
            entries=entries,
            asked=_read_asked(content),
            policy_sets=_read_policy_sets(content),
            agent=contents.agent,
        )
    except (LedgerError, ValueError, msgspec.DecodeError) as error:
        raise invalid_bundle(f"{name}: {error}") from None


def _file(content: Mapping[str, bytes], name: str) -> bytes:
    data = content.get(DATA + name)
    if data is None:
        raise invalid_bundle(f"{name}: is missing")
    return data


def _read_proofs(content: Mapping[str, bytes]) -> tuple[EpochProof, ...]:
    found: list[EpochProof] = []
    while (data := content.get(DATA + epoch_path(len(found)))) is not None:
        found.append(EPOCH_PROOFS.decode(data))
    return tuple(found)


def _read_asked(content: Mapping[str, bytes]) -> dict[int, Asked]:
    found = {}
    for name, data in content.items():
        folder, _, file = name.rpartition("/")
        if folder == DATA + "decisions" and file.endswith(".asked.json"):
            index = file.removesuffix(".asked.json")
            if not (index.isascii() and index.isdigit()):
                raise ValueError(name)
            found[int(index)] = decode_asked(data)
    return found


def _read_policy_sets(content: Mapping[str, bytes]) -> dict[bytes, PolicySet]:
    found = {}
    for name, data in content.items():
        parts = name.split("/")
        if parts[:2] == ["data", "contracts"] and parts[-1] == "policy-set.msgpack":
            policy_set = POLICY_SETS.decode(data)
            found[hash_policy_set(policy_set)] = policy_set
    return found


def _verify_receipts(evidence: Evidence) -> None:
    """Steps 3 to 5."""
    try:
        chain = EpochChain(evidence.genesis, evidence.proofs)  # 3
        size = Checkpoint.parse(evidence.note.text).size
        if chain.epoch_of(size) != chain.epoch:
            raise invalid_bundle("an epoch that ends after the tree of the checkpoint")
        tree = chain.policy_for(size).verify(evidence.note)  # 4
        for index, proven in evidence.entries.items():  # 5
            leaf = hash_leaf(proven.data)
            verify_inclusion(leaf, index, tree.size, proven.path, tree.root)
    except LedgerError as error:
        raise invalid_bundle(str(error)) from None


def _verify_blocks(evidence: Evidence, story: Story) -> None:
    """Step 6: the blocks are of the epochs that are proven, so no proof of an epoch is left out."""
    chain = EpochChain(evidence.genesis, evidence.proofs)
    for told in (*story.events, *story.governance):
        epoch = chain.epoch_of(told.header.tree_size + 1)
        keys = hash_consensus_keys(chain.validators_of(epoch))
        if (told.header.epoch, told.header.validators_hash) != (epoch, keys):
            detail = f"#{told.index}: of epoch {told.header.epoch}, which is not proven"
            raise invalid_bundle(detail)


def _verify_facts(evidence: Evidence, story: Story, standings: Mapping[int, Standing]) -> None:
    """Step 8, as far as no contract is asked: what was asked agrees with what is proven."""
    opening = story.opening
    requester, provider = story.members[:2]
    if isinstance(opening, ShareOffered):
        requester, provider = provider, requester
    for told in story.events:
        asked = evidence.asked.get(told.index)
        if asked is None:
            continue
        act, standing = asked.act, standings[told.index]
        rows: list[tuple[str, object, object]] = [
            ("officer", act.officer, standing.officer),
            ("member", act.member, standing.member),
            ("requester", act.requester.id, requester),
            ("provider", act.provider.id, provider),
            ("dataset", act.dataset.id, opening.dataset),
            ("timeMs", asked.facts.get("timeMs"), told.time_ms),
        ]
        if told is story.events[0]:
            rows += _opening_rows(asked, opening)
        for name, found, proven in rows:
            if found != proven:
                detail = f"decisions/{told.index}.asked.json: {name}: {found!r}, not {proven!r}"
                raise invalid_bundle(detail)


def _opening_rows(asked: Asked, opening: ShareOpening) -> list[tuple[str, object, object]]:
    act, facts = asked.act, asked.facts
    return [
        ("purpose", (act.purpose, facts.get("purpose")), (opening.purpose,) * 2),
        ("legalBasis", (act.legal_basis, facts.get("legalBasis")), (opening.legal_basis,) * 2),
        ("urgency", (act.urgency, facts.get("urgency")), (opening.urgency,) * 2),
        ("fields", (act.fields, facts.get("fields")), (opening.fields, list(opening.fields))),
        ("subjects", (act.subjects, facts.get("subjects")), (len(opening.subjects),) * 2),
        ("retentionDays", facts.get("retentionDays"), act.retention_days),
        ("retention", act.retention_days, opening.retention_days),
        ("basis", None if asked.basis is None else asked.basis.id, opening.legal_basis),
    ]


def _compare(content: Mapping[str, bytes], made: Mapping[str, bytes], agent: str) -> None:
    """Step 9. What another release of this program made may differ in layout or words."""
    names = sorted({*content, *made})
    different = [name for name in names if content.get(name) != made.get(name)]
    if different and agent != AGENT:
        raise InvalidInput("bundle-release", f"{agent}: {', '.join(different)}")
    if different:
        # Totals and manifests differ because something else does.
        first = min(different, key=lambda name: (name in _SUMS, name))
        raise invalid_bundle(f"{first}: says what is not proven")


def compare_with_log(evidence: Evidence, found: Evidence) -> None:
    """Check that a log has the same evidence: nothing left out, and the facts are those replayed.

    `found` was gathered from the log, up to the size of the bundle's tree. Raises `InvalidAnswer`.
    """
    ours, logged = ({i: p.data for i, p in each.entries.items()} for each in (evidence, found))
    different = sorted(i for i in {*ours, *logged} if ours.get(i) != logged.get(i))
    if different:
        raise invalid_bundle(f"entry {different[0]} is not that of the log, or is left out")
    for index, asked in evidence.asked.items():
        if encode_asked(asked) != encode_asked(found.asked[index]):
            detail = f"decisions/{index}.asked.json: the facts are not those of a replay"
            raise invalid_bundle(detail)
