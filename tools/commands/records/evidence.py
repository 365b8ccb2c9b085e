"""`tally audit evidence` and `verify-evidence`: one exchange, proven in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.tlog.merkle import HASH_BYTES
from tools.commands.acting import parse_hash
from tools.exits import InvalidInput
from tools.mirror import check_writable, copy_at, event_map, new_file, read_genesis
from tools.options import WordCommand, common, jobs_option, option
from tools.output import emit, note, progress
from tools.words import say

if TYPE_CHECKING:
    from tools.audit.evidence.bundle import Evidence

_FILE = click.Path(path_type=Path, dir_okay=False)
_genesis_option = option("--genesis", type=_FILE, help="option.genesis")


@click.command("evidence", cls=WordCommand, help="help.audit_evidence")
@click.argument("exchange")
@click.argument("where")
@option("--out", "-o", type=_FILE, required=True, help="option.evidence_out")
@_genesis_option
@jobs_option
@common
def evidence(
    exchange: str, where: str, out: Path, genesis: Path | None, jobs: int, as_json: bool
) -> None:
    """Everything that proves one exchange."""
    from tools.audit.evidence.bundle import folder_name, make_files, pack

    if out.exists():
        raise InvalidInput("file-exists", str(out))
    check_writable(out)
    if genesis is None:
        note(say("audit.unpinned"))
    found = _gather(where, exchange, genesis, jobs)
    data = pack(make_files(found), folder_name(found.exchange))
    try:
        with new_file(out) as file:
            file.write(data)
    except OSError as error:
        raise InvalidInput("file-unwritable", f"{out}: {error.strerror}") from None
    document = {"file": str(out), "bytes": len(data), **_document(found)}
    emit(as_json, document, say("evidence.written", path=out, **_document(found)))


@click.command("verify-evidence", cls=WordCommand, help="help.audit_verify_evidence")
@click.argument("path", metavar="FILE", type=_FILE)
@option("--genesis-hash", required=True, help="option.genesis_hash")
@option("--log", "where", help="option.evidence_log")
@jobs_option
@common
def verify_evidence(
    path: Path, genesis_hash: str, where: str | None, jobs: int, as_json: bool
) -> None:
    """Check a bundle offline, or with a log also what it leaves out."""
    from tools.audit.evidence.bundle import BUNDLE_BYTES_MAX
    from tools.audit.evidence.checking import compare_with_log, verify_bundle
    from tools.founding import read_file

    network = parse_hash(genesis_hash)
    checked = verify_bundle(read_file(path, size_bytes_max=BUNDLE_BYTES_MAX), network)
    document = _document(checked)
    if where is not None:
        logged = _gather(where, checked.exchange.hex(), checked, jobs)
        compare_with_log(checked, logged)
    lines = [say("evidence.verified", **document | {"cosigners": ", ".join(document["cosigners"])})]
    lines += [say("evidence.log_agrees")] * (where is not None)
    emit(as_json, {"valid": True, "log": where is not None, **document}, "\n".join(lines))


def _gather(where: str, exchange: str, trust: "Path | Evidence | None", jobs: int) -> "Evidence":
    """Evidence from a folder or URL; of a bundle to compare with: of its network, at its size.

    By the index of the folder, if it has one, but where an earlier size is asked for. An index also
    knows an exchange by the first digits of its digest.
    """
    from ledger.tlog.checkpoint import Checkpoint
    from tools.audit.evidence.gather import gather, gather_by_index
    from tools.audit.index.build import open_index
    from tools.audit.index.tables import INDEX_NAME
    from tools.commands.inquiry.opening import find_exchange

    if not (Path(where) / INDEX_NAME).exists():
        parse_hash(exchange)
    size = None
    if trust is None or isinstance(trust, Path):
        founding = read_genesis(trust) if trust else None
    else:
        founding, size = trust.genesis, Checkpoint.parse(trust.note.text).size
    with progress("audit.replaying") as bar, copy_at(where, founding) as directory:
        if (directory / INDEX_NAME).exists():
            with open_index(directory, genesis=founding, jobs=jobs) as index:
                if size in (None, index.covered.size):
                    is_whole = len(exchange) == 2 * HASH_BYTES
                    digest = parse_hash(exchange) if is_whole else find_exchange(index, exchange)
                    return gather_by_index(directory, index, digest, bar)
        with event_map(jobs) as map_events:
            digest = parse_hash(exchange)
            return gather(directory, digest, founding, map_events, bar, size=size)


def _document(found: "Evidence") -> dict[str, Any]:
    from ledger.genesis import hash_genesis
    from ledger.tlog.checkpoint import Checkpoint

    story = found.story()
    return {
        "exchange": found.exchange.hex(),
        "network": hash_genesis(found.genesis).hex(),
        "events": len(story.events),
        "votes": len(story.governance),
        "decisions": len(found.asked),
        "tree_size": Checkpoint.parse(found.note.text).size,
        "cosigners": sorted(found.cosigners()),
    }
