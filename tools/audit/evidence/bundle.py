r"""The bundle: everything that proves one exchange, as a BagIt bag (RFC 8493) in one zip file.

    evidence-<id>/bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt
    evidence-<id>/index.html  README.txt  verify.py
    evidence-<id>/data/
        evidence.json                   version of this format, exchange, network, tree, entries
        genesis.msgpack  genesis.json   the founding document: its hash is the network id
        checkpoint  policy              tree head cosigned by a quorum, and who must have cosigned
        epochs/<n>                      proof of the validators after epoch n (MessagePack)
        entries/<index>.entry           exact bytes of an entry: block header or record
        entries/<index>.tlog-proof      its receipt under the checkpoint (C2SP)
        events.json  signers.json       the events, and who signed them, to be read
        decisions/<index>.asked.json    what the contracts were asked
        decisions/<index>.json          what they answered, and why
        contracts/<hash>/policy-set.msgpack, <contract>.cedar, schema.cedarschema

`Evidence` is what cannot be derived; `make_files` derives everything else from it. So whoever
checks a bundle makes its files again and compares: nothing in it says what the proven part does not
say. The zip stores its files uncompressed, sorted, at one fixed time: equal evidence, equal bytes.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import msgspec

from contracts.facts import block_date
from ledger.errors import LedgerError
from ledger.export.cloudevents import cloud_event, hex_of
from ledger.genesis import GENESES, Genesis, encode_genesis_json, hash_genesis
from ledger.keys import fingerprint, format_public_key
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain, EpochProof, epoch_path
from ledger.registry import POLICY_SETS, PolicySet
from ledger.tlog.checkpoint import Checkpoint, verify_cosignatures
from ledger.tlog.merkle import Hash
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt
from tools.audit.evidence.facts import Asked, encode_asked, encode_json
from tools.audit.evidence.page import View, render_page, render_readme
from tools.audit.evidence.standing import Standing, find_carried, find_standings
from tools.audit.evidence.story import Story, invalid_bundle, read_story
from tools.contract.explaining import Explanation, explain_happened, to_document

FORMAT_VERSION = 1
BUNDLE_BYTES_MAX = 256 * 1024 * 1024
AGENT = f"tallystick {version('tallystick')}"
DATA = "data/"
BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_ZIP_MODE = 0o100644 << 16
_UNIX = 3


class Contents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`data/evidence.json`; hashes in hex. `agent` made the bundle."""

    format: int
    agent: str
    exchange: str
    network: str
    tree_size: int
    entries: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Exact bytes of an entry, and its inclusion proof in the tree of the checkpoint."""

    data: bytes
    path: tuple[Hash, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a bundle proves with: entries and questions by index, policy sets by hash."""

    exchange: bytes
    genesis: Genesis
    proofs: tuple[EpochProof, ...]
    note: SignedNote
    entries: Mapping[int, Proven]
    asked: Mapping[int, Asked]
    policy_sets: Mapping[bytes, PolicySet]
    agent: str = AGENT

    def story(self) -> Story:
        """The events of the entries."""
        entries = {index: proven.data for index, proven in self.entries.items()}
        return read_story(entries, self.exchange, hash_genesis(self.genesis))

    def cosigners(self) -> dict[str, int]:
        """Names of those who cosigned the tree, each with the Unix time at which it did."""
        chain = EpochChain(self.genesis, self.proofs)
        keys = chain.cosigner_keys_for(Checkpoint.parse(self.note.text).size)
        return {key.name: time_s for key, time_s in verify_cosignatures(self.note, keys).items()}


def make_files(evidence: Evidence) -> dict[str, bytes]:
    """Every file of the bag by its path in it. Raises `InvalidAnswer` if it contradicts itself."""
    story = evidence.story()
    standings = find_standings(evidence.genesis, story)
    explained = explain_all(evidence, story)
    data = _proving_files(evidence)
    events = [_event_document(evidence, standings[told.index]) for told in story.events]
    data["events.json"] = encode_json(events)
    data["signers.json"] = encode_json(_signers_document(story, standings))
    for index, found in explained.items():
        data[f"decisions/{index}.json"] = encode_json(to_document(found))
    view = View(
        exchange=evidence.exchange,
        genesis=evidence.genesis,
        checkpoint=Checkpoint.parse(evidence.note.text),
        cosigners=evidence.cosigners(),
        story=story,
        standings=standings,
        explained=explained,
        agent=evidence.agent,
    )
    payload = {DATA + name: content for name, content in data.items()}
    tags = {
        "bagit.txt": BAGIT,
        "bag-info.txt": _bag_info(evidence, story, payload),
        "manifest-sha256.txt": make_manifest(payload),
        "index.html": render_page(view),
        "README.txt": render_readme(view),
        "verify.py": files("tools.audit.evidence").joinpath("standalone.py").read_bytes(),
    }
    return {**payload, **tags, "tagmanifest-sha256.txt": make_manifest(tags)}


def explain_all(evidence: Evidence, story: Story) -> dict[int, Explanation]:
    """The decisions of the contracts, each made again. Raises `InvalidAnswer`, `InvalidInput`."""
    decided = [told for told in story.events if told.outcome.policy_set]
    if {told.index for told in decided} != set(evidence.asked):
        raise invalid_bundle("questions to the contracts and decisions do not match")
    if {told.outcome.policy_set for told in decided} != set(evidence.policy_sets):
        raise invalid_bundle("contracts and decisions do not match")
    found = {}
    for told in decided:
        happened = told.happened(evidence.asked[told.index])
        try:
            policy_set = evidence.policy_sets[told.outcome.policy_set]
            found[told.index] = explain_happened(happened, policy_set)
        except (LedgerError, LookupError, TypeError, ValueError) as error:
            # What was asked is a file like any other: the engine may not even understand it.
            raise invalid_bundle(f"decisions/{told.index}: {error}") from None
    return found


def _proving_files(evidence: Evidence) -> dict[str, bytes]:
    """The evidence itself, under its names in `data/`."""
    note = evidence.note.format()
    size = Checkpoint.parse(evidence.note.text).size
    contents = Contents(
        format=FORMAT_VERSION,
        agent=evidence.agent,
        exchange=evidence.exchange.hex(),
        network=hash_genesis(evidence.genesis).hex(),
        tree_size=size,
        entries=sorted(evidence.entries),
    )
    found = {
        "evidence.json": encode_json(contents),
        "genesis.msgpack": GENESES.encode(evidence.genesis),
        "genesis.json": encode_genesis_json(evidence.genesis),
        "checkpoint": note,
        "policy": EpochChain(evidence.genesis, evidence.proofs).policy_for(size).format(),
    }
    found |= {epoch_path(proof.epoch): EPOCH_PROOFS.encode(proof) for proof in evidence.proofs}
    for index, proven in evidence.entries.items():
        receipt = Receipt(index=index, proof=proven.path, note=evidence.note)
        found[f"entries/{index}.entry"] = proven.data
        found[f"entries/{index}.tlog-proof"] = receipt.format()
    for index, asked in evidence.asked.items():
        found[f"decisions/{index}.asked.json"] = encode_asked(asked)
    for digest, policy_set in evidence.policy_sets.items():
        folder = f"contracts/{digest.hex()}"
        found[f"{folder}/policy-set.msgpack"] = POLICY_SETS.encode(policy_set)
        found[f"{folder}/schema.cedarschema"] = policy_set.schema.encode()
        for contract in policy_set.contracts:
            found[f"{folder}/{contract.id}.cedar"] = contract.text.encode()
    return found


def _event_document(evidence: Evidence, standing: Standing) -> dict[str, Any]:
    told = standing.told
    event = cloud_event(
        network=hash_genesis(evidence.genesis),
        index=told.index,
        height=told.height,
        time_ms=told.time_ms,
        event=told.event,
        outcome=told.outcome,
    )
    return {**msgspec.to_builtins(event), "signer": _standing_document(standing)}


def _standing_document(standing: Standing) -> dict[str, Any]:
    officer, told = standing.officer, standing.told
    return {
        "index": told.index,
        "height": told.height,
        "event": told.event.digest.hex(),
        "kind": told.event.kind,
        "member": hex_of(msgspec.to_builtins(standing.member, builtin_types=(bytes,))),
        "key": format_public_key(officer.key),
        "fingerprint": fingerprint(officer.key),
        "roles": list(officer.roles),
        "last_day": standing.not_after,
    }


def _signers_document(story: Story, standings: Mapping[int, Standing]) -> dict[str, Any]:
    """Who signed what in which standing, and the proposals behind that."""
    return {
        "signed": [_standing_document(standings[index]) for index in sorted(standings)],
        "proposals": [
            {
                "proposal": each.proposal.event.digest.hex(),
                "index": each.proposal.index,
                "in_force_from_height": each.height,
                "approvals": [told.index for told in each.approvals],
                "actions": hex_of(msgspec.to_builtins(each.actions, builtin_types=(bytes,))),
            }
            for each in find_carried(story.governance)
        ],
    }


def _bag_info(evidence: Evidence, story: Story, payload: Mapping[str, bytes]) -> bytes:
    size_bytes = sum(map(len, payload.values()))
    lines = (
        ("External-Identifier", evidence.exchange.hex()),
        ("External-Description", "Evidence of one exchange of tax information on a ledger"),
        ("Internal-Sender-Identifier", hash_genesis(evidence.genesis).hex()),
        ("Bagging-Date", block_date(story.events[-1].time_ms).isoformat()),
        ("Payload-Oxum", f"{size_bytes}.{len(payload)}"),
        ("Bag-Software-Agent", evidence.agent),
    )
    return "".join(f"{name}: {value}\n" for name, value in lines).encode()


def make_manifest(content: Mapping[str, bytes]) -> bytes:
    """Lines of `sha256sum`, sorted by path."""
    rows = (f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in sorted(content))
    return "".join(rows).encode()


def folder_name(exchange: bytes) -> str:
    """The one folder in the zip file."""
    return f"evidence-{exchange.hex()[:16]}"


def pack(content: Mapping[str, bytes], folder: str) -> bytes:
    """The zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(content):
            info = zipfile.ZipInfo(f"{folder}/{name}", _ZIP_TIME)
            info.create_system, info.external_attr = _UNIX, _ZIP_MODE
            archive.writestr(info, content[name])
    return buffer.getvalue()
