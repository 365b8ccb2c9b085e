"""`tally contract`: check, try, explain and compare policy sets, and ask what a draft would do."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tools.exits import ERROR
from tools.options import WordGroup, common, jobs_option, option
from tools.output import emit, printable, progress
from tools.words import language, say, tell_detail

SHIPPED = "shipped"
_PATH = click.Path(path_type=Path)
_genesis_option = option(
    "--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis"
)


@click.group(cls=WordGroup, help="help.contract")
def command() -> None:
    """Group."""


@command.command("validate", help="help.contract_validate")
@click.argument("paths", type=_PATH, nargs=-1, required=True)
@common
def validate(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check a draft; every fault with its place and what to do."""
    from contracts.drafts.check import find_policy_set_faults
    from contracts.drafts.words import fault_words
    from contracts.engine import hash_policy_set
    from tools.contract.sources import read_draft

    draft = read_draft(paths)
    rows, lines = [], []
    for fault in find_policy_set_faults(draft.policy_set):
        title, advice = fault_words(fault, language())
        path = draft.paths.get(fault.contract)
        where = [str(path) if path is not None else fault.contract]
        where += [str(number) for number in (fault.place.line, fault.place.column) if number]
        names = " ".join(filter(None, (fault.policy, tell_detail(fault.code, fault.detail))))
        lines.append(f"{':'.join(filter(None, where))}: {title} [{fault.code}] {names}\n  {advice}")
        document = {**asdict(fault), **asdict(fault.place), "file": where[0]}
        del document["place"]
        rows.append({**document, "title": title, "advice": advice})
    counts = {"contracts": len(draft.policy_set.contracts), "faults": len(rows)}
    digest = hash_policy_set(draft.policy_set).hex()
    summary = say("contract.faults" if rows else "contract.valid", hash=digest, **counts)
    document = {"valid": not rows, "hash": digest, **counts, "found": rows}
    emit(as_json, document, printable("\n".join([*lines, summary])))
    if rows:
        click.get_current_context().exit(ERROR)


@command.command("test", help="help.contract_test")
@click.argument("path", type=_PATH)
@option("--cases", type=click.Path(path_type=Path, dir_okay=False), help="option.cases")
@common
def test(path: Path, cases: Path | None, as_json: bool) -> None:
    """Run the tables of cases beside a draft."""
    from contracts.engine import PolicyEngine
    from tools.contract.cases import find_tables, run_tables
    from tools.contract.sources import read_usable, shipped_folder
    from tools.contract.views import show_tables

    place = shipped_folder() if str(path) == SHIPPED else path
    engine = PolicyEngine(read_usable(place if place.is_dir() else place.parent))
    document, text = show_tables(run_tables(engine, find_tables(cases or place)))
    emit(as_json, document, printable(text))
    if document["failed"]:
        click.get_current_context().exit(ERROR)


@command.command("explain", help="help.contract_explain")
@click.argument("event")
@click.argument("where")
@_genesis_option
@jobs_option
@common
def explain(event: str, where: str, genesis: Path | None, jobs: int, as_json: bool) -> None:
    """Why an event was decided as it was."""
    from tools.commands.acting import parse_hash
    from tools.contract.explaining import find_explanation, to_document, to_text
    from tools.contract.past import open_past
    from tools.mirror import event_map

    digest = parse_hash(event)
    with (
        open_past(where, genesis) as past,
        event_map(jobs) as map_events,
        progress("contract.reading") as bar,
    ):
        found = find_explanation(past, digest, map_events, bar)
    emit(as_json, to_document(found), printable(to_text(found, language())))


@command.command("what-if", help="help.contract_what_if")
@click.argument("draft", type=_PATH)
@click.argument("where")
@option("--since", type=click.IntRange(0), default=0, help="option.since_height")
@option("--limit", type=click.IntRange(0, 100_000), default=1_000, help="option.limit")
@option("--trust", is_flag=True, help="option.trust")
@_genesis_option
@jobs_option
@common
def what_if(
    draft: Path,
    where: str,
    genesis: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Ask a draft about the recorded requests."""
    from tools.contract.past import open_past
    from tools.contract.sources import read_usable
    from tools.contract.views import show_outlook
    from tools.contract.whatif import look

    policy_set = read_usable(draft)
    with open_past(where, genesis) as past, progress("contract.asking") as bar:
        outlook = look(past, policy_set, on_progress=bar, **chosen)
    document, text = show_outlook(outlook, since=chosen["since"], trust=chosen["trust"])
    emit(as_json, document, printable(text))


@command.command("diff", help="help.contract_diff")
@click.argument("old")
@click.argument("new")
@_genesis_option
@jobs_option
@common
def diff(old: str, new: str, genesis: Path | None, jobs: int, as_json: bool) -> None:
    """Compare two policy sets."""
    from contracts.drafts.difference import compare_sets
    from tools.contract.sources import read_policy_set
    from tools.contract.views import show_comparison

    sets = [read_policy_set(where, genesis, jobs) for where in (old, new)]
    compared = compare_sets(*sets)
    emit(as_json, asdict(compared), printable(show_comparison(old, new, compared)))
