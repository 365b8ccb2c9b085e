"""The page and the instructions in a bundle, in Chinese and English, for whoever reads a case.

Pure functions of what is proven. The page loads nothing, runs nothing, and prints both languages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import msgspec

from contracts.decision import explain
from contracts.words import Language, decision_word, describe, kind_word, role_word
from ledger.blocks import Outcome
from ledger.export.cloudevents import format_time, hex_of
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import fingerprint, format_public_key
from ledger.registry import Dataset, DatasetField, Member, Purpose
from ledger.tlog.checkpoint import Checkpoint
from tools.audit.evidence.facts import encode_json
from tools.audit.evidence.standing import Carried, Standing, find_carried
from tools.audit.evidence.story import Story, Told
from tools.contract.explaining import Explanation, to_text
from tools.words import LANGUAGES, catalogue

DIGEST_SHOWN = 16
_Named = Member | Dataset | DatasetField | Purpose
_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;max-width:60rem;margin:1rem auto;
padding:0 1rem;color:#111}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:1.6rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{border:1px solid #999;padding:.25rem .4rem;text-align:left;vertical-align:top;
overflow-wrap:anywhere}
th{background:#eee}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:.6rem}
#only-zh:checked~.en,#only-en:checked~.zh{display:none}
@media print{input,label{display:none}
#only-zh:checked~.en,#only-en:checked~.zh{display:block}section{break-before:page}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What there is to show; `cosigners` are names with the Unix time of their cosignature."""

    exchange: bytes
    genesis: Genesis
    checkpoint: Checkpoint
    cosigners: Mapping[str, int]
    story: Story
    standings: Mapping[int, Standing]
    explained: Mapping[int, Explanation]
    agent: str


def render_page(view: View) -> bytes:
    """One HTML file."""
    title = " · ".join(_say(language, "title") for language in LANGUAGES)
    switches = "".join(
        f'<input type="radio" name="only" id="only-{name}"{" checked" * (name == "zh")}>'
        f'<label for="only-{name}">{_say(name, "language")}</label>\n'
        for name in LANGUAGES
    )
    sections = "".join(
        f'<section class="{name}" lang="{"zh-CN" if name == "zh" else "en"}">\n'
        f"{''.join(_section(view, name))}</section>\n"
        for name in LANGUAGES
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{switches}{sections}</body>\n</html>\n"
    ).encode()


def render_readme(view: View) -> bytes:
    """The instructions: what is in the bundle, how to check it, what it proves and what not."""
    network = hash_genesis(view.genesis).hex()
    texts = (_say(name, "readme", network=network, agent=view.agent) for name in LANGUAGES)
    return ("\n\n".join(text.strip() for text in texts) + "\n").encode()


def _say(language: Language, key: str, **values: object) -> str:
    return catalogue(language)[f"evidence.{key}"].format(**values)


def _section(view: View, language: Language) -> Iterator[str]:
    yield f"<h1>{escape(_say(language, 'title'))}</h1>\n"
    lead = _say(language, "lead", count=len(view.story.events), origin=view.genesis.origin)
    yield f"<p>{escape(lead)}</p>\n"
    yield _table((), _facts(view, language))
    yield _heading(language, "decision")
    for told in view.story.events:
        if told.index in view.explained:
            yield _decision(view.explained[told.index], told, language)
    yield _heading(language, "events")
    columns = ("index", "time", "event", "member", "officer", "outcome")
    rows = [_event_row(view.standings[told.index], language) for told in view.story.events]
    yield _table([_say(language, f"column_{name}") for name in columns], rows)
    yield _heading(language, "signers")
    names = ("officer", "member", "roles", "since")
    yield _table([_say(language, f"column_{name}") for name in names], _signer_rows(view, language))
    yield _heading(language, "checkpoint")
    yield _table((), _checkpoint_rows(view, language))
    yield _heading(language, "limits")
    yield f"<p>{escape(_say(language, 'limits'))}</p>\n"
    yield _heading(language, "details")
    for told in view.story.events:
        yield _details(view, told, language)


def _details(view: View, told: Told, language: Language) -> str:
    """What an event says word for word, and why it was decided so."""
    body = hex_of(msgspec.to_builtins(told.event.body, builtin_types=(bytes,)))
    parts = [encode_json(body).decode().strip()]
    if told.index in view.explained:
        parts.append(to_text(view.explained[told.index], language))
    head = f"#{told.index} {kind_word(told.event.kind, language)} {told.event.digest.hex()}"
    return f"<h3>{escape(head)}</h3>\n" + "".join(f"<pre>{escape(each)}</pre>\n" for each in parts)


def _heading(language: Language, name: str) -> str:
    return f"<h2>{escape(_say(language, f'heading_{name}'))}</h2>\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = []
    if head:
        lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>\n")
    for row in rows:
        first, rest = (row[:1], row[1:]) if not head else ((), row)
        cells = [
            *(f"<th>{escape(c)}</th>" for c in first),
            *(f"<td>{escape(c)}</td>" for c in rest),
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>\n")
    return f"<table>\n{''.join(lines)}</table>\n"


def _facts(view: View, language: Language) -> list[tuple[str, str]]:
    """What was asked or offered."""
    opening = view.story.opening
    first = view.story.events[0].event.member
    other = view.story.members[1]
    datasets = view.genesis.datasets
    fields = [each for data in datasets if data.id == opening.dataset for each in data.fields]
    values = {
        "exchange": view.exchange.hex(),
        "network": hash_genesis(view.genesis).hex(),
        "kind": kind_word(view.story.events[0].event.kind, language),
        "from": _party(view, first, language),
        "to": _party(view, other, language),
        "dataset": _called(opening.dataset, datasets, language),
        "fields": ", ".join(_called(name, fields, language) for name in opening.fields),
        "purpose": _called(opening.purpose, view.genesis.purposes, language),
        "basis": _basis(view, language),
        "period": f"{opening.period_from} – {opening.period_to}",
        "subjects": str(len(opening.subjects)),
        "urgency": opening.urgency,
        "retention": str(opening.retention_days),
        "case": opening.case,
    }
    return [(_say(language, f"fact_{name}"), value) for name, value in values.items()]


def _called(id_: str, known: Sequence[_Named], language: Language) -> str:
    """An id with the name that the genesis gives it, if it does."""
    found = next((each for each in known if each.id == id_), None)
    return id_ if found is None else f"{_name(found, language)} ({id_})"


def _basis(view: View, language: Language) -> str:
    """The legal basis as it was registered when contracts were asked about it, if they were."""
    opening = view.story.opening
    explained = view.explained.get(view.story.events[0].index)
    basis = None if explained is None else explained.happened.basis
    if basis is None:
        return opening.legal_basis
    title = basis.title_zh if language == "zh" else basis.title_en
    return f"{title} ({basis.id})"


def _party(view: View, member: str, language: Language) -> str:
    known = [*view.genesis.members, *(each.member for each in view.standings.values())]
    found = next((each for each in known if each.id == member), None)
    return member if found is None else f"{_name(found, language)} ({member})"


def _name(named: _Named, language: Language) -> str:
    return named.name_zh if language == "zh" else named.name_en


def _decision(found: Explanation, told: Told, language: Language) -> str:
    assert found.decision is not None, "the contracts were asked"
    assert found.happened.act is not None, "the contracts were asked"
    text = explain(found.decision, language, found.happened.act.risk)
    head = f"#{told.index} {kind_word(told.event.kind, language)} · {format_time(told.time_ms)}"
    return f"<h3>{escape(head)}</h3>\n<pre>{escape(text)}</pre>\n"


def _event_row(standing: Standing, language: Language) -> tuple[str, ...]:
    told = standing.told
    roles = ", ".join(role_word(role, language) for role in standing.officer.roles)
    return (
        f"{told.index} ({told.height})",
        format_time(told.time_ms),
        kind_word(told.event.kind, language),
        f"{_name(standing.member, language)} ({standing.member.id})",
        f"{fingerprint(standing.officer.key)} ({roles})",
        _outcome(told.outcome, language),
    )


def _outcome(outcome: Outcome, language: Language) -> str:
    if not outcome.applied:
        return f"{describe(outcome.code, language).title} [{outcome.code}]"
    if outcome.decision:
        return decision_word(outcome.decision, language)
    return _say(language, "applied")


def _signer_rows(view: View, language: Language) -> list[tuple[str, ...]]:
    """Every key that signed, once, with what made it an officer's."""
    carried = find_carried(view.story.governance)
    rows = {}
    for _, standing in sorted(view.standings.items()):
        officer = standing.officer
        rows[officer.key] = (
            format_public_key(officer.key),
            officer.member,
            ", ".join(role_word(role, language) for role in officer.roles),
            _since(view, officer.key, carried, language),
        )
    return list(rows.values())


def _since(view: View, key: bytes, carried: Sequence[Carried], language: Language) -> str:
    """What made a key an officer's, and what ended that."""
    found = [_say(language, "by_genesis")] * any(each.key == key for each in view.genesis.officers)
    for each in carried:
        for name, keys in (("by_vote", each.added_keys), ("revoked", each.revoked_keys)):
            if key in keys:
                votes = ", ".join(f"#{told.index} {told.event.member}" for told in each.approvals)
                digest = each.proposal.event.digest.hex()[:DIGEST_SHOWN]
                said = {"height": each.height, "proposal": digest, "votes": votes}
                found.append(_say(language, name, **said))
    return "; ".join(found)


def _checkpoint_rows(view: View, language: Language) -> list[tuple[str, str]]:
    tree = view.checkpoint
    rows = {
        "origin": tree.origin,
        "size": str(tree.size),
        "root": tree.root.hex(),
    }
    found = [(_say(language, f"fact_{name}"), value) for name, value in rows.items()]
    for name, time_s in view.cosigners.items():
        found.append((_say(language, "fact_cosigner"), f"{name} · {format_time(time_s * 1_000)}"))
    return found
