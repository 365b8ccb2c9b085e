"""`tally audit replay`, `segment` and `merge`: execute a log again, whole or in parts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from ledger.errors import Divergence, LedgerError
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import format_public_key, parse_public_key
from ledger.quorum.founding import verify_founders
from ledger.verify import LogCopy, Step
from tools.audit.divergence import diverged, tell_fault
from tools.audit.results import (
    FILE_BYTES_MAX,
    Joined,
    Result,
    SignedResult,
    join,
    join_run,
    read_result,
    sign_result,
)
from tools.audit.segments import (
    OnEntries,
    Part,
    expect_entries,
    find_behind,
    open_part,
    plan,
    replay_one,
    replay_parts,
)
from tools.custody.passphrase import Ways, passphrase_options
from tools.custody.signer import open_signer
from tools.exits import UNVERIFIED, InvalidAnswer, InvalidInput, InvalidUsage, ToolError
from tools.founding import read_signatures, signatures_path
from tools.mirror import copy_at, event_map, read_genesis
from tools.mirror.pruned import read_pruned
from tools.options import WordCommand, common, jobs_option, option
from tools.output import emit, note, printable, progress
from tools.words import say

FILE = click.Path(path_type=Path, dir_okay=False)
HEIGHT = click.IntRange(0)
genesis_option = option("--genesis", type=FILE, help="option.genesis")
from_option = option("--from", "from_height", type=HEIGHT, default=0, help="option.from_height")
to_option = option("--to", "to_height", type=HEIGHT, default=0, help="option.to_height")


@click.command("replay", cls=WordCommand, help="help.audit_replay")
@click.argument("where")
@genesis_option
@from_option
@to_option
@option("--snapshots-every", "every", type=click.IntRange(1), help="option.snapshots_every")
@jobs_option
@option("--cluster", help="option.cluster")
@common
def replay(
    where: str,
    genesis: Path | None,
    from_height: int,
    to_height: int,
    every: int | None,
    jobs: int,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Execute a log again."""
    if "://" in where and (every or cluster or from_height):
        raise InvalidUsage("usage-invalid", say("audit.needs_folder"))
    _check_heights(from_height, to_height)
    founding = _pinned(genesis)
    with copy_at(where, founding) as directory:
        part = Part(
            directory=directory,
            genesis=founding,
            from_height=from_height,
            to_height=to_height,
            every=every or 0,
        )
        document = replay_parted(part, jobs=jobs, cluster=cluster, show_steps=not as_json)
        found = judge_founders(genesis or directory / "genesis.json")
    document |= {"founders": found.state}
    text = say("audit.valid", **{**document, "decisions": _decisions(document)})
    emit(as_json, document, "\n".join(filter(None, (text, found.text))))


@click.command("segment", cls=WordCommand, help="help.audit_segment")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@from_option
@to_option
@option("--key", required=True, help="option.auditor_key")
@option("--out", type=FILE, required=True, help="option.segment_out")
@passphrase_options
@genesis_option
@jobs_option
@common
def segment(
    directory: Path,
    from_height: int,
    to_height: int,
    key: str,
    out: Path,
    ways: Ways,
    genesis: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Replay a part of a copy and sign what was found."""
    _check_heights(from_height, to_height)
    founding = _pinned(genesis)
    part = Part(
        directory=directory, genesis=founding, from_height=from_height, to_height=to_height, every=0
    )
    signer = open_signer(key, ways)
    copy = _open(part)
    (result,) = _run(copy, [part], jobs=jobs, cluster=None)
    out.write_bytes(sign_result(result, signer))
    document = {
        "out": str(out),
        "auditor": format_public_key(signer.public),
        "result": msgspec.to_builtins(result),
    }
    verdict = say("audit.segment_valid") if result.fault is None else tell_fault(result.fault)
    last = result.last.height if result.last else to_height
    text = say("audit.segment", out=out, first=from_height, last=last, verdict=verdict)
    emit(as_json, document, printable(text))
    if result.fault is not None:
        click.get_current_context().exit(UNVERIFIED)


@click.command("merge", cls=WordCommand, help="help.audit_merge")
@click.argument("files", type=FILE, nargs=-1, required=True)
@genesis_option
@option("--auditor", "auditors", multiple=True, help="option.auditor")
@common
def merge(
    files: tuple[Path, ...], genesis: Path | None, auditors: tuple[str, ...], as_json: bool
) -> None:
    """Join the results of parts."""
    founding = _pinned(genesis)
    believed = _read_keys(auditors)
    if not believed:
        note(say("audit.any_auditor"))
    signed = [_read_file(path, believed) for path in files]
    network = signed[0].result.network
    if founding is not None and hash_genesis(founding).hex() != network:
        raise InvalidInput("segments-mixed", f"{files[0]}: {network}")
    joined = join([each.result for each in signed])
    whole = _judge(joined, signed)
    document = {
        **_describe(whole),
        "auditors": _signers(signed),
        "overlaps": [list(each) for each in joined.overlaps],
    }
    lines = [say("audit.merged", **{**document, "decisions": _decisions(document)})]
    lines += [say("audit.overlap", first=first, last=last) for first, last in joined.overlaps]
    lines += [say("audit.auditor", auditor=each) for each in document["auditors"]]
    emit(as_json, document, "\n".join(lines))


def _judge(joined: Joined, signed: Sequence[SignedResult]) -> Result:
    """The whole. Raises `InvalidAnswer` for a log that is not valid, `ToolError` for gaps."""
    facts = {
        "divergence": msgspec.to_builtins(joined.fault),
        "gaps": [list(each) for each in joined.gaps],
        "overlaps": [list(each) for each in joined.overlaps],
        "contradictions": list(joined.contradictions),
        "auditors": _signers(signed),
    }
    if joined.fault is not None:
        lines = [tell_fault(joined.fault), *joined.contradictions]
        raise InvalidAnswer("replay-diverged", "\n".join(lines), facts=facts)
    if joined.contradictions:
        raise InvalidAnswer("segments-contradict", "\n".join(joined.contradictions), facts=facts)
    if joined.whole is None:
        gaps = [
            say("audit.gap", first=first, last=last or say("audit.the_end"))
            for first, last in joined.gaps
        ]
        raise ToolError("segments-incomplete", "\n".join(gaps), facts=facts)
    return joined.whole


def _signers(signed: Sequence[SignedResult]) -> list[str]:
    return sorted({each.auditor for each in signed})


def _read_keys(texts: Sequence[str]) -> frozenset[str]:
    try:
        return frozenset(format_public_key(parse_public_key(text)) for text in texts)
    except LedgerError as error:
        raise InvalidInput("public-key-invalid", str(error)) from None


def _read_file(path: Path, believed: frozenset[str]) -> SignedResult:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
    signed = read_result(data, str(path))
    if believed and signed.auditor not in believed:
        raise InvalidInput("auditor-unknown", f"{path}: {signed.auditor}")
    return signed


def _check_heights(from_height: int, to_height: int) -> None:
    if to_height and to_height <= from_height:
        raise InvalidUsage("usage-invalid", f"--from {from_height} --to {to_height}")


def _pinned(genesis: Path | None) -> Genesis | None:
    if genesis is None:
        note(say("audit.unpinned"))
        return None
    return read_genesis(genesis)


# --- replay ---------------------------------------------------------------------------------------


def replay_folder(directory: Path, *, genesis: Genesis | None, jobs: int) -> dict[str, Any]:
    """Replay a copy; raises `InvalidAnswer` that names the first divergence."""
    part = Part(directory=directory, genesis=genesis, from_height=0, to_height=0, every=0)
    return replay_parted(part, jobs=jobs)


def replay_parted(
    part: Part, *, jobs: int, cluster: str | None = None, show_steps: bool = False
) -> dict[str, Any]:
    """Replay a part of a copy, by itself in parts where that is faster.

    Raises `InvalidAnswer` that names the first divergence.
    """
    started_s = time.monotonic()
    copy = _open(part)
    if show_steps:
        _show(copy)
    parts = [part]
    if jobs > 1 or cluster:
        parts = plan(
            part.directory,
            part.genesis,
            from_height=part.from_height,
            to_height=part.to_height,
            every=part.every,
        )
    results = _run(copy, parts, jobs=jobs, cluster=cluster)
    joined = join_run(results, copy.checkpoint.size)
    if joined.fault is not None:
        raise diverged(joined.fault)
    if joined.whole is None:
        detail = "\n".join(joined.contradictions)
        raise InvalidAnswer("segments-contradict", detail)
    took_s = time.monotonic() - started_s
    document = _describe(joined.whole)
    if show_steps:
        _show_executed(joined.whole)
    return document | {
        "cosigners": list(copy.cosigners),
        "parts": len(parts),
        "seconds": round(took_s, 3),
        "entries_per_s": round(document["entries"] / max(took_s, 1e-9)),
    }


def _open(part: Part) -> LogCopy:
    try:
        return open_part(part)
    except Divergence as error:
        raise diverged(error) from None


def _run(copy: LogCopy, parts: list[Part], *, jobs: int, cluster: str | None) -> list[Result]:
    total = expect_entries(
        parts[0].directory,
        copy.checkpoint.size,
        from_height=parts[0].from_height,
        to_height=parts[-1].to_height,
    )

    with progress("audit.replaying") as bar:

        def on_entries(count: int) -> None:
            bar(min(count, total), total)

        try:
            return _replay(parts, jobs, cluster, on_entries)
        except InvalidInput as error:
            if error.code == "entries-archived":
                raise _with_state(error, parts[0].directory) from None
            raise


def _replay(
    parts: list[Part], jobs: int, cluster: str | None, on_entries: OnEntries
) -> list[Result]:
    if cluster:
        from tools.audit.cluster import replay_on_cluster

        return replay_on_cluster(parts, cluster, on_entries)
    if len(parts) > 1:
        return replay_parts(parts, jobs, on_entries)
    with event_map(jobs) as map_events:
        return [replay_one(parts[0], map_events=map_events, on_entries=on_entries)]


def _with_state(error: InvalidInput, directory: Path) -> InvalidInput:
    """The same error, with the height from which what is left can be replayed, if there is one."""
    head = next(find_behind(directory, read_pruned(directory).entries), None)
    if head is None:
        return error
    detail = f"{error.detail}\n{say('audit.replay_from', height=head.height)}"
    return InvalidInput(error.code, detail, facts={**error.facts, "from_height": head.height})


def _describe(result: Result) -> dict[str, Any]:
    """A valid result for programs."""
    assert result.last is not None, "faults are raised before"
    return {
        "replay": "valid",
        "network": result.network,
        "from_height": result.first.height,
        "to_height": result.last.height,
        "entries": result.last.entries - result.first.entries,
        "blocks": result.blocks,
        "events": result.events,
        "decisions": {"permit": result.permit, "review": result.review, "deny": result.deny},
        "acts": {act.word: act.count for act in result.acts},
        "refused": result.refused,
        "root": result.root,
        "state_digest": result.last.state,
    }


def _show(copy: LogCopy) -> None:
    """Steps 1 to 3, which are done when anything is executed."""
    _show_step(Step.GENESIS, network=copy.network.hex())
    _show_step(Step.EPOCHS, count=copy.epochs.epoch)
    _show_step(Step.CHECKPOINT, entries=copy.checkpoint.size, cosigners=len(copy.cosigners))


def _show_executed(result: Result) -> None:
    """Steps 4 to 10, which are taken block by block."""
    document = _describe(result)
    acts = " · ".join(f"{act.word} {act.count}" for act in result.acts)
    values = document | {"decisions": _decisions(document), "acts": acts}
    for step in range(Step.TILES, Step.STATE + 1):
        _show_step(Step(step), **values)


def _show_step(step: Step, **values: Any) -> None:
    click.echo(f"{step:2}  {say(f'step.{step.name.lower()}', **values)}")


def _decisions(document: Mapping[str, Any]) -> str:
    """Numbers of each decision in words."""
    counts = document["decisions"]
    return " · ".join(f"{say(f'decision.{name}')} {count}" for name, count in counts.items())


# --- founders -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Founders:
    """What the file of signatures beside a genesis shows, and a sentence about it."""

    state: Literal["signed", "invalid", "absent"]
    text: str


def judge_founders(genesis_path: Path) -> Founders:
    """Whether all founders signed this genesis. The replay of a copy does not depend on it."""
    genesis = read_genesis(genesis_path)
    path = signatures_path(genesis_path)
    if not path.exists():
        return Founders(state="absent", text="")
    try:
        verify_founders(genesis, read_signatures(path))
    except (InvalidInput, LedgerError) as error:
        text = say("audit.founders_invalid", path=path, fault=error)
        return Founders(state="invalid", text=printable(text))
    text = say("audit.founders_signed", path=path, count=len(genesis.validators))
    return Founders(state="signed", text=text)
