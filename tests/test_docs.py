"""The READMEs tell the truth: generated tables equal the code, commands, links and paths exist.

Reference tables stand between `<!-- generated: NAME -->` and `<!-- end -->`. They are rendered here
from the code, and a README that differs fails. `python -m tests.test_docs` writes them anew; review
the difference like code. Everything else in the READMEs is written by hand and checked by shape.
"""

import ast
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

import click
import pytest

from contracts.shipped import TABLE
from contracts.words import catalogue as rule_words
from contracts.words import describe
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt
from node import daemon
from node.api.problems import HTTP_CODES, STATUS, Problem, problem_body, status_of
from node.api.routes import ROUTES
from node.config import REQUIRED, SETTINGS
from node.gateway import config as gateway_config
from node.gateway import jobs
from node.metrics import Metrics
from tests import (
    tables_of_connectors,
    tables_of_credit,
    tables_of_crs,
    tables_of_exports,
    tables_of_faults,
    tables_of_gateway,
    tables_of_lifecycle,
    tables_of_records,
    tables_of_risk,
)
from tests.metric_words import METRIC_WORDS
from tools import exits
from tools.cli import main as tally
from tools.words import catalogue as tool_words

Language = Literal["en", "zh"]

ROOT = Path(__file__).resolve().parent.parent
READMES: dict[Language, Path] = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
LANGUAGES: tuple[Language, ...] = ("en", "zh")

# The requirements that the feature table answers for, one row each, in this order.
REQUIREMENTS = tuple(
    f"{group}{number}"
    for group, count in (("P", 7), ("M", 4), ("T", 7), ("S", 7), ("X", 6), ("R", 4), ("A", 3))
    for number in range(1, count + 1)
)
STATES = {"en": ("works", "partly", "not yet"), "zh": ("可用", "部分", "尚无")}

# What each exit code of `tally` means, for the table and nowhere else.
EXIT_WORDS = {
    "OK": ("完成", "done"),
    "ERROR": (
        "失败：输入、文件、节点，或事件未生效",
        "failed: input, file, node, event not applied",
    ),
    "USAGE": ("命令或选项写错", "the command line is wrong"),
    "UNVERIFIED": ("验证失败：不可采信", "verification failed: do not believe it"),
    "DENIED": ("合约拒绝", "the contracts deny"),
    "NOT_FOUND": ("所查不存在", "it does not exist"),
    "UNREACHABLE": ("节点没有应答", "no answer from the node"),
    "WARNING": (
        "诊断有警告、没有故障（`tally doctor`）",
        "warnings and no fault (`tally doctor`)",
    ),
}
NODE_EXIT_WORDS = {
    "EXIT_STOPPED": ("按要求停止", "stopped as told"),
    "EXIT_FAILED": (
        "未能启动或运行中失败，原因与办法见输出",
        "did not start, or failed; the output says why",
    ),
}
TARGET_WORDS = {
    "help": ("列出全部目标", "list the targets"),
    "setup": ("安装到 .venv", "install into .venv"),
    "demo": ("启动四地网络并演示共享", "start a four-region network and run the exchange"),
    "test": ("代码检查、类型检查与全部测试", "linter, formatter, type checker, all tests"),
    "lint": ("代码检查与格式检查", "linter and formatter"),
    "types": ("类型检查", "type checker"),
    "bench": ("压测本机网络，参数经 ARGS 传入", "measure a local network; ARGS are passed on"),
    "sim": (
        "故障下的共识仿真，SEEDS 指定种子",
        "simulate consensus under faults; SEEDS names seeds",
    ),
    "mutants": (
        "逐处改错生产代码并确认有测试失败，ARGS 选择其中几处",
        "break the code in one place at a time and see a test fail; ARGS picks some",
    ),
    "fuzz": (
        "按接口文档自动编造请求并检查应答；EXAMPLES 为每个接口的请求数，SEED 可重现",
        "send a node made-up requests; EXAMPLES for each operation, SEED repeats a run",
    ),
    "chaos": (
        "对真实节点反复注入故障；MINUTES 为时长，SEED 可重现",
        "break a network of real nodes for MINUTES; SEED repeats a run",
    ),
    "clean": ("删除 .venv 与缓存", "remove .venv and caches"),
}

_SECTION = re.compile(r"<!-- generated: ([a-z-]+) -->\n(.*?)<!-- end -->", re.DOTALL)
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH_LIKE = re.compile(r"(?:ledger|contracts|node|tools|config|tests|\.ci)/[\w./*-]*|Makefile")
_TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)
_MAKE = re.compile(r"\bmake ([a-z]+)\b")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _pick(language: Language, zh: str, en: str) -> str:
    return zh if language == "zh" else en


# Tables from the code.


def render_config(language: Language) -> str:
    head = _pick(language, "键|含义|默认值", "key|meaning|default").split("|")
    required = _pick(language, "必填", "required")
    rows = [
        (
            f"`[{setting.section}] {setting.key}`",
            _pick(language, setting.zh, setting.en),
            required if setting.default is REQUIRED else f"`{_default_text(setting.default)}`",
        )
        for setting in SETTINGS
    ]
    return _table(tuple(head), rows)


def _default_text(value: object) -> str:
    return str(value) if not isinstance(value, str) or value else '""'


def render_routes(language: Language) -> str:
    head = _pick(language, "路由|用途|应答", "route|what it does|answers").split("|")
    rows = []
    for route in ROUTES:
        named = [parameter.name for parameter in route.parameters]
        text = _pick(language, route.zh, route.en)
        if named:
            text += " " + ", ".join(f"`{name}`" for name in named)
        answers = sorted({*route.answers, *route.problems})
        rows.append((f"`{route.method} {route.template}`", text, ", ".join(map(str, answers))))
    return _table(tuple(head), rows)


def render_errors(language: Language) -> str:
    head = _pick(language, "代码|HTTP|含义|怎么办", "code|HTTP|meaning|what to do").split("|")
    codes = sorted({*HTTP_CODES, *STATUS, *rule_words("en")["codes"]} - {"unknown"})
    rows = []
    for code in codes:
        body = problem_body(Problem(code), language=language, instance="")
        rows.append((f"`{code}`", str(status_of(code)), body.title, body.advice))
    return _table(tuple(head), rows)


def render_contracts(language: Language) -> str:
    head = _pick(language, "合约|准许或禁止|内容|需求|测试", "contract|effect|what|for|test")
    rows = []
    for row in TABLE:
        text = resources.files("contracts").joinpath("policies", f"{row.id}.cedar").read_text()
        effects = sorted(set(re.findall(r"^(permit|forbid)\b", text, re.MULTILINE)))
        words = {
            "permit": _pick(language, "准许", "permit"),
            "forbid": _pick(language, "禁止", "forbid"),
        }
        rows.append(
            (
                f"[`{row.id}`](contracts/policies/{row.id}.cedar)",
                ", ".join(words[effect] for effect in effects),
                _pick(language, row.zh, row.en),
                row.requirement,
                f"`{row.test}`",
            )
        )
    return _table(tuple(head.split("|")), rows)


def walk_commands() -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Every command of `tally` that does something, with its path."""

    def walk(
        command: click.Command, path: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
        context = click.Context(command, info_name=" ".join(path))
        if not isinstance(command, click.Group):
            yield path, command, context
            return
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield from walk(child, (*path, name))

    yield from walk(tally, ("tally",))


def _options(command: click.Command, context: click.Context) -> list[click.Option]:
    """Options of a command but those that all have: `--lang`, `--json`, `--help`."""
    found = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    return [option for option in found if option.opts[0] not in {"--lang", "--json", "--help"}]


def render_commands(language: Language) -> str:
    head = _pick(language, "命令|用途|选项", "command|what it does|options").split("|")
    rows = []
    for path, command, context in walk_commands():
        arguments = [p.human_readable_name for p in command.params if isinstance(p, click.Argument)]
        key = command.help or f"help.{path[-1]}"
        options = " ".join(f"`{option.opts[0]}`" for option in _options(command, context))
        usage = " ".join([*path, *arguments])
        rows.append((f"`{usage}`", tool_words(language)[key], options))
    return _table(tuple(head), rows)


def render_options(language: Language) -> str:
    head = _pick(language, "选项|含义|取值", "option|meaning|values").split("|")
    rows = set()
    for _, command, context in walk_commands():
        for option in _options(command, context):
            meaning = tool_words(language)[option.help or ""]
            rows.add((f"`{option.opts[0]}`", meaning, _values_of(option)))
    return _table(tuple(head), sorted(rows))


def _values_of(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    if isinstance(option.type, click.IntRange):
        highest = "" if option.type.max is None else f"{option.type.max:,}"
        return f"{option.type.min:,} … {highest}".strip()
    return ""


def render_exits(language: Language) -> str:
    head = _pick(language, "退出码|含义", "exit code|meaning").split("|")
    rows = [
        (str(getattr(exits, name)), _pick(language, *words)) for name, words in EXIT_WORDS.items()
    ]
    return _table(tuple(head), rows)


def render_tool_errors(language: Language) -> str:
    """Codes of `tally` itself, with the words of its catalogue, or of the rules."""
    head = _pick(language, "代码|退出码|含义|怎么办", "code|exit code|meaning|what to do").split(
        "|"
    )
    found = _tool_codes()
    rows = []
    for code in sorted(set().union(*found.values())):
        numbers = ", ".join(str(number) for number in sorted(found) if code in found[number])
        words = tool_words(language)
        title, advice = (words.get(f"errors.{code}.{part}", "") for part in ("title", "advice"))
        if not title:
            described = describe(code, language)
            title, advice = described.title, described.advice
        rows.append((f"`{code}`", numbers, title, advice))
    return _table(tuple(head), rows)


def render_node_exits(language: Language) -> str:
    head = _pick(language, "退出码|含义", "exit code|meaning").split("|")
    values = {"EXIT_STOPPED": 0, **_constants(daemon, "EXIT_")}
    rows = [(str(values[name]), _pick(language, *words)) for name, words in NODE_EXIT_WORDS.items()]
    return _table(tuple(head), rows)


def _constants(module: object, prefix: str) -> dict[str, int]:
    found = vars(module).items()
    return {key: value for key, value in found if key.startswith(prefix) and type(value) is int}


def render_metrics(language: Language) -> str:
    head = _pick(language, "指标|类型|含义", "figure|type|meaning").split("|")
    rows = []
    for family in Metrics().registry.collect():
        # Counters are served with this ending.
        name = family.name + ("_total" if family.type == "counter" else "")
        meaning = _pick(language, METRIC_WORDS[family.name], family.documentation)
        rows.append((f"`{name}`", family.type, meaning))
    return _table(tuple(head), rows)


def _tool_codes() -> dict[int, set[str]]:
    """Exit code: the codes of the errors of `tools` that end with it, from the source."""
    found: dict[int, set[str]] = {}
    kinds = {
        name: kind.exit_code
        for name, kind in vars(exits).items()
        if isinstance(kind, type) and issubclass(kind, exits.ToolError)
    }
    for path in sorted((ROOT / "tools").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            first = node.args[0]
            if node.func.id in kinds and isinstance(first, ast.Constant):
                found.setdefault(kinds[node.func.id], set()).add(str(first.value))
    return found


def render_targets(language: Language) -> str:
    head = _pick(language, "命令|用途", "command|what it does").split("|")
    rows = [(f"`make {name}`", _pick(language, *words)) for name, words in TARGET_WORDS.items()]
    return _table(tuple(head), rows)


RENDERERS: dict[str, Callable[[Language], str]] = {
    "behaviours": lambda language: _table(*tables_of_credit.behaviours(language)),
    "commands": render_commands,
    "config": render_config,
    "config-faults": lambda language: _table(*tables_of_faults.config_faults(language)),
    "connector-refusals": lambda language: _table(*tables_of_connectors.refusals(language)),
    "connectors": lambda language: _table(*tables_of_connectors.options(language)),
    "contracts": render_contracts,
    "crs-codes": lambda language: _table(*tables_of_crs.codes(language)),
    "crs-refusals": lambda language: _table(*tables_of_crs.refusals(language)),
    "errors": render_errors,
    "exits": render_exits,
    "export-exchanges": lambda language: _table(*tables_of_exports.columns(language, "exchanges")),
    "export-provenance": lambda language: _table(*tables_of_exports.attributes(language)),
    "export-records": lambda language: _table(*tables_of_exports.columns(language, "records")),
    "findings": lambda language: _table(*tables_of_faults.findings(language)),
    "gaps": lambda language: _table(*tables_of_lifecycle.gaps(language)),
    "gateway-faults": lambda language: _table(*tables_of_gateway.faults(language)),
    "gateway-settings": lambda language: _table(*tables_of_gateway.settings(language)),
    "gateway-stages": lambda language: _table(*tables_of_gateway.stages(language)),
    "lifecycle": tables_of_lifecycle.render_lifecycle,
    "matters": lambda language: _table(*tables_of_lifecycle.matters(language)),
    "metrics": render_metrics,
    "node-exits": render_node_exits,
    "options": render_options,
    "reasons": lambda language: _table(*tables_of_credit.reasons(language)),
    "policy-faults": lambda language: _table(*tables_of_faults.policy_faults(language)),
    "record-refusals": lambda language: _table(*tables_of_records.refusals(language)),
    "record-rules": lambda language: _table(*tables_of_records.rules(language)),
    "risk-reasons": lambda language: _table(*tables_of_risk.reasons(language)),
    "routes": render_routes,
    "sealing": lambda language: _table(*tables_of_faults.sealing(language)),
    "start-refusals": lambda language: _table(*tables_of_faults.start_refusals(language)),
    "targets": render_targets,
    "tool-errors": render_tool_errors,
}


def render_readme(text: str, language: Language) -> str:
    """A README with every generated section as the code has it."""

    def section(match: re.Match[str]) -> str:
        body = RENDERERS[match[1]](language)
        return f"<!-- generated: {match[1]} -->\n{body}<!-- end -->"

    return _SECTION.sub(section, text)


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Language:
    chosen: Language = request.param
    return chosen


@pytest.fixture
def readme(language: Language) -> str:
    return READMES[language].read_text("utf-8")


# Generated sections.


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_a_generated_section_equals_the_code(name: str, language: Language, readme: str) -> None:
    bodies = [match[2] for match in _SECTION.finditer(readme) if match[1] == name]
    assert bodies == [RENDERERS[name](language)], "run: python -m tests.test_docs"


def test_no_section_is_generated_from_nothing(readme: str) -> None:
    assert {match[1] for match in _SECTION.finditer(readme)} == set(RENDERERS)
    assert readme.count("<!-- generated:") == readme.count("<!-- end -->") == len(RENDERERS)


def test_a_changed_row_is_noticed(language: Language, readme: str) -> None:
    """Seen to fail: a README that lost a row is not what the code renders."""
    lost = readme.replace("`[limits] connections_max`", "`[limits] connections`")
    assert lost != readme
    assert render_readme(lost, language) == readme


def test_targets_exit_codes_and_figures_are_named_completely() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(TARGET_WORDS) == set(_TARGET.findall(makefile))
    assert set(EXIT_WORDS) == set(_constants(exits, ""))
    assert set(NODE_EXIT_WORDS) == {"EXIT_STOPPED", *_constants(daemon, "EXIT_")}
    assert set(METRIC_WORDS) == {family.name for family in Metrics().registry.collect()}


def test_the_sample_configuration_names_every_key() -> None:
    sample = tomllib.loads(resources.files("config").joinpath("node.toml").read_text("utf-8"))
    named = {(section, key) for section, table in sample.items() for key in table}
    assert named == {(setting.section, setting.key) for setting in SETTINGS}


def test_the_sample_of_a_gateway_names_every_key_and_its_default() -> None:
    text = resources.files("config").joinpath("gateway.toml").read_text("utf-8")
    sample = tomllib.loads(text)
    plugs = {name: sample.pop(name) for name in ("receiver", "datasets")}
    assert all(set(plug) <= {"name", "options"} for plug in plugs["datasets"].values())
    named = {
        (section, key): value for section, table in sample.items() for key, value in table.items()
    }
    settings = {(row.section, row.key): row for row in gateway_config.SETTINGS}
    assert named.keys() == settings.keys()
    for key, row in settings.items():
        if row.default is not REQUIRED and key != ("gateway", "node"):
            assert row.parse(named[key]) == row.default, key


@pytest.mark.parametrize("name", ["tallystick", "tallystick-gateway"])
def test_a_unit_starts_a_command_that_exists(name: str) -> None:
    unit = resources.files("config").joinpath(f"{name}.service").read_text("utf-8")
    [line] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    program, *words = shlex.split(line)
    commands = {path: command for path, command, _ in walk_commands()}
    known = {each for param in commands["tally", *words[:2]].params for each in param.opts}
    assert program.endswith("/tally")
    assert words[2] in known


def test_stages_in_the_table_are_those_of_the_gateway() -> None:
    stages = [stage for _, names in tables_of_gateway.STAGES for stage in names]
    assert set(stages) == set(get_args(jobs.Stage))
    for side, names in tables_of_gateway.STAGES:
        assert {stage for own, stage in jobs.ACTIVE if own == side} <= set(names)


def test_every_reason_why_a_node_is_not_ready_is_explained(readme: str) -> None:
    codes = set()
    for path in sorted((ROOT / "node").glob("*.py")):
        codes |= set(re.findall(r'Reason\(\s*code="([a-z-]+)"', path.read_text("utf-8")))
    line = next(line for line in readme.split("\n") if line.startswith("`/readyz`"))
    assert {code for code in _CODE.findall(line) if "/" not in code} == codes


# What is written by hand.


def _headings(text: str) -> list[tuple[int, str]]:
    outside = _FENCE.sub("", text)
    found = re.findall(r"^(#{1,6}) (.+)$", outside, re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def test_both_readmes_have_the_same_structure() -> None:
    texts = {language: READMES[language].read_text("utf-8") for language in LANGUAGES}
    levels = {name: [level for level, _ in _headings(text)] for name, text in texts.items()}
    assert levels["en"] == levels["zh"]
    fences = {name: [match[1] for match in _FENCE.finditer(text)] for name, text in texts.items()}
    assert fences["en"] == fences["zh"]
    rows = {name: len(re.findall(r"^\|", text, re.MULTILINE)) for name, text in texts.items()}
    assert rows["en"] == rows["zh"]


def _anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
    return kept.replace(" ", "-")


def test_every_link_leads_somewhere(language: Language, readme: str) -> None:
    anchors = {
        path.name: {_anchor(title) for _, title in _headings(path.read_text("utf-8"))}
        for path in READMES.values()
    }
    for target in _LINK.findall(_FENCE.sub("", readme)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        name = name or READMES[language].name
        assert (ROOT / name).exists(), target
        if anchor:
            assert anchor in anchors[name], target


def test_every_path_named_exists(readme: str) -> None:
    for code in _CODE.findall(_FENCE.sub("", readme)):
        if _PATH_LIKE.fullmatch(code):
            assert any(ROOT.glob(code.rstrip("/"))), code


def _shell_lines(text: str) -> Iterator[str]:
    """Commands in examples: lines after a `$ ` in console blocks, continued by a backslash."""
    for match in _FENCE.finditer(text):
        if match[1] == "console":
            joined = match[2].replace("\\\n", " ")
            yield from (line[2:] for line in joined.split("\n") if line.startswith("$ "))


def test_every_command_shown_exists(readme: str) -> None:
    commands = {path: (command, context) for path, command, context in walk_commands()}
    shown = [shlex.split(line) for line in _shell_lines(readme)]
    shown += [
        shlex.split(code) for code in _CODE.findall(_FENCE.sub("", readme)) if "tally " in code
    ]
    uses = [words for words in shown if words and words[0] == "tally" and len(words) > 1]
    assert len(uses) > len(commands)
    for words in uses:
        path = next((p for p in commands if tuple(words[: len(p)]) == p), None)
        assert path is not None or any(p[: len(words)] == tuple(words) for p in commands), words
        if path is None:
            continue
        command, context = commands[path]
        known = {name for param in command.get_params(context) for name in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_every_make_target_shown_exists(readme: str) -> None:
    shown = {name for code in _CODE.findall(readme) for name in _MAKE.findall(code)}
    shown |= {name for line in _shell_lines(readme) for name in _MAKE.findall(line)}
    assert shown <= set(TARGET_WORDS)
    assert {"demo", "test"} <= shown


def test_every_example_parses(readme: str) -> None:
    parsers: dict[str, Callable[[str], object]] = {
        "json": json.loads,
        "toml": tomllib.loads,
        "python": lambda text: compile(text, "README", "exec"),
        "checkpoint": lambda text: Checkpoint.parse(SignedNote.parse(text.encode()).text),
        "tlog-proof": lambda text: Receipt.parse(text.encode()),
    }
    kinds = set()
    for match in _FENCE.finditer(readme):
        assert match[1] in {*parsers, "console", "mermaid", "text"}, match[1]
        if match[1] in parsers:
            parsers[match[1]](match[2])
            kinds.add(match[1])
    assert kinds >= {"json", "python", "tlog-proof"}


def _features(text: str, language: Language) -> list[tuple[str, str]]:
    states = "|".join(STATES[language])
    return re.findall(rf"^\| ([A-Z]\d) \| ({states}) \|", text, re.MULTILINE)


def test_every_requirement_has_its_state(language: Language, readme: str) -> None:
    assert tuple(id_ for id_, _ in _features(readme, language)) == REQUIREMENTS


def test_both_readmes_claim_the_same_states() -> None:
    claims = {
        name: [
            (id_, STATES[name].index(state))
            for id_, state in _features(READMES[name].read_text("utf-8"), name)
        ]
        for name in LANGUAGES
    }
    assert claims["en"] == claims["zh"]


def test_no_path_of_a_machine_stands_in_a_readme(readme: str) -> None:
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|work|usr)/", readme)


def test_make_help_lists_what_the_readme_lists() -> None:
    out = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True
    )
    assert set(re.findall(r"^  make ([a-z]+) ", out.stdout, re.MULTILINE)) == set(TARGET_WORDS)


if __name__ == "__main__":
    for name, path in READMES.items():
        path.write_text(render_readme(path.read_text("utf-8"), name), "utf-8")
