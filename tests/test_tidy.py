"""Laws of the code as tests: import direction, purity, sizes, banned names, one vocabulary.

Each law is one function from a parsed module to its faults, with a snippet that breaks it and one
that keeps it, so every law has been seen to fail. A ban names what to write in its place. Laws that
the linter already knows (unused names, `print`, relative imports) stay in `pyproject.toml`.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
PACKAGE_MODULES_MAX = 12

# What each package may import of ours. `tools` reaches a node over HTTP only.
MAY_IMPORT = {
    "ledger": {"ledger"},
    "contracts": {"ledger", "contracts"},
    "node": {"ledger", "contracts", "node", "config"},
    "tools": {"ledger", "contracts", "tools", "config"},
}
OURS = frozenset({*MAY_IMPORT, "config", "tests"})
PURE = ("ledger/", "contracts/")
LIBRARIES = (*PURE, "node/", "tools/")
EVERYWHERE = (*LIBRARIES, "config/", "tests/")
STORAGE = "ledger/storage.py"  # the only input and output of the pure packages

_AS_INPUT = "take it as an argument"
_IO = "do input and output in ledger/storage.py or in node/"
IMPURE_MODULES = {
    "aiohttp": _IO,
    "asyncio": "return effects; node/ performs them",
    "concurrent": "call plain functions; node/ decides on threads",
    "http": _IO,
    "io": _IO,
    "locale": "compare code points",
    "logging": "raise, or return the finding",
    "math": "use integer arithmetic",
    "multiprocessing": "call plain functions; node/ decides on processes",
    "os": _IO,
    "pathlib": _IO,
    "random": _AS_INPUT,
    "secrets": _AS_INPUT,
    "select": _IO,
    "shutil": _IO,
    "signal": _IO,
    "socket": _IO,
    "ssl": _IO,
    "structlog": "raise, or return the finding",
    "subprocess": _IO,
    "tempfile": _IO,
    "threading": "call plain functions; node/ decides on threads",
    "time": _AS_INPUT,
    "uuid": _AS_INPUT,
}
IMPURE_CALLS = {
    "float": "use integers with their unit in the name",
    "hash": "use hashlib: hash() differs between processes",
    "id": "compare values, not addresses",
    "input": _AS_INPUT,
    "open": _IO,
    ".now": _AS_INPUT,
    ".today": _AS_INPUT,
    ".utcnow": _AS_INPUT,
    ".urandom": _AS_INPUT,
    ".read_text": "read package data through importlib.resources, in contracts/ only",
    ".read_bytes": "read package data through importlib.resources, in contracts/ only",
    ".write_text": _IO,
    ".write_bytes": _IO,
}
BANNED_MODULES = {
    "marshal": "use ledger.codec: this format can run code",
    "pickle": "use ledger.codec: this format can run code",
    "shelve": "use ledger.codec: this format can run code",
    "xml.etree": "use a parser that refuses entities",
}
BANNED_CALLS = {
    ".splitlines": 'use split("\\n"): splitlines() cuts at eleven other characters too',
    ".isnumeric": "use isascii() and isdigit()",
    ".isdecimal": "use isascii() and isdigit()",
    "print": "use click.echo in tools/, a structured log in node/",
    "eval": "parse the text",
    "exec": "call a function",
}


@dataclass(frozen=True, kw_only=True)
class Module:
    """A source file: path from the root with `/`, its text, read in three ways."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        return list(tokenize.generate_tokens(io.StringIO(self.text).readline))


Fault = tuple[int, str]  # line, what to write in its place
Law = Callable[[Module], Iterator[Fault]]


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, those inside functions too."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield node.lineno, f"{node.module}.{name.name}"


def _calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call with its name: `open` for a function, `.open` for a method."""
    for node in module.nodes:
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node, node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node, "." + node.func.attr


def _comments(module: Module) -> Iterator[tuple[int, str]]:
    for token in module.tokens:
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _banned_import(module: Module, banned: dict[str, str]) -> Iterator[Fault]:
    for line, name in _imports(module):
        for prefix, instead in banned.items():
            if name == prefix or name.startswith(prefix + "."):
                yield line, f"import of {prefix}: {instead}"


def import_direction(module: Module) -> Iterator[Fault]:
    own = module.path.split("/", maxsplit=1)[0]
    for line, name in _imports(module):
        package = name.split(".", maxsplit=1)[0]
        if package in OURS and package not in MAY_IMPORT[own]:
            yield line, f"{own} may not import {package}: {sorted(MAY_IMPORT[own])} only"


def pure_imports(module: Module) -> Iterator[Fault]:
    if module.path != STORAGE:
        yield from _banned_import(module, IMPURE_MODULES)


def pure_calls(module: Module) -> Iterator[Fault]:
    if module.path == STORAGE:
        return
    own_data = module.path.startswith("contracts/") and any(
        name.startswith("importlib.resources") for _, name in _imports(module)
    )
    for call, name in _calls(module):
        if name in IMPURE_CALLS and not (own_data and name.startswith(".read_")):
            yield call.lineno, f"{name}(): {IMPURE_CALLS[name]}"


def integers_only(module: Module) -> Iterator[Fault]:
    if module.path == STORAGE:
        return  # joins paths with `/`
    for node in module.nodes:
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield node.lineno, "division with a fraction: use // or compare products"
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node.lineno, f"{node.value}: use an integer with its unit in the name"


def _is_set(node: ast.expr) -> bool:
    return isinstance(node, ast.Set | ast.SetComp) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("set", "frozenset")
    )


def ordered_iteration(module: Module) -> Iterator[Fault]:
    for node in module.nodes:
        walked: list[ast.expr] = []
        if isinstance(node, ast.For | ast.comprehension):
            walked = [node.iter]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("list", "tuple", "enumerate", "iter", "next", "zip", "map", "join"):
                walked = node.args
        for expression in walked:
            if _is_set(expression):
                yield expression.lineno, "order of a set differs between processes: use sorted()"


def banned_names(module: Module) -> Iterator[Fault]:
    yield from _banned_import(module, BANNED_MODULES)
    lines = module.text.split("\n")
    for call, name in _calls(module):
        if name in BANNED_CALLS:
            yield call.lineno, f"{name}(): {BANNED_CALLS[name]}"
        if name == ".isdigit" and ".isascii()" not in lines[call.lineno - 1]:
            yield call.lineno, "isdigit(): ask isascii() beside it; other scripts have digits too"
        if name in (".b64decode", "b64decode") and not any(
            keyword.arg == "validate" for keyword in call.keywords
        ):
            yield call.lineno, "b64decode(): say validate=True, else it skips foreign characters"


def no_sleep(module: Module) -> Iterator[Fault]:
    for line, name in _imports(module):
        if name == "time.sleep":
            yield line, "time.sleep: wait on the event"
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep":
            yield node.lineno, "time.sleep: wait on the event"


def no_swallowing(module: Module) -> Iterator[Fault]:
    for node in module.nodes:
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            if broad and all(isinstance(line, ast.Pass | ast.Continue) for line in node.body):
                yield node.lineno, "swallowed exception: name the one expected, let others pass on"
    for call, name in _calls(module):
        if name in ("suppress", ".suppress") and any(
            ast.unparse(argument) in ("Exception", "BaseException") for argument in call.args
        ):
            yield call.lineno, "suppressed exception: name the one expected"


def function_size(module: Module) -> Iterator[Fault]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {lines} lines: split it"


def file_size(module: Module) -> Iterator[Fault]:
    lines = module.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield 1, f"{lines} lines: split it"


def has_docstring(module: Module) -> Iterator[Fault]:
    if module.text.strip() and not ast.get_docstring(module.tree):
        yield 1, "say in a docstring what the module is for"


def reasons(module: Module) -> Iterator[Fault]:
    """Every suppression names its rule and its reason."""
    for line, text in _comments(module):
        if "type: ignore" in text and not re.search(r"type: ignore\[[\w, -]+\]\s+(#|-) \w", text):
            yield line, "write `type: ignore[code]  # reason`"
        if "noqa" in text and not re.search(r"noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*\s+(#|-) \w", text):
            yield line, "write `noqa: CODE - reason`"


def nothing_left_to_do(module: Module) -> Iterator[Fault]:
    for line, text in _comments(module):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text):
            yield line, "do it, or file it"


# Our word for it. Texts for people and foreign formats (strings) may use other words.
VOCABULARY = {
    re.compile(r"transaction|(?<![a-z])tx(?![a-z])", re.IGNORECASE): "event",
    re.compile(r"block[ _-]?chain", re.IGNORECASE): "log or ledger",
    re.compile(r"master|slave|whitelist|blacklist", re.IGNORECASE): "leader, allowed, refused",
}


def one_vocabulary(module: Module) -> Iterator[Fault]:
    if module.path in (STORAGE, "tests/unit/ledger/test_storage.py", "tests/test_tidy.py"):
        return  # speaks of the storage engine's own transactions; this file names the words
    said = list(_comments(module))
    said += (
        (token.start[0], token.string) for token in module.tokens if token.type == tokenize.NAME
    )
    said += (
        (getattr(node, "lineno", 1), ast.get_docstring(node) or "")
        for node in module.nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for line, text in said:
        for pattern, instead in VOCABULARY.items():
            if found := pattern.search(text):
                yield line, f"{found[0]!r}: our word is {instead}"


def _long(count: int) -> str:
    return "def f():\n" + "    g()\n" * count


# Law, where it holds, a file that breaks it, a file that keeps it.
LAWS: list[tuple[Law, tuple[str, ...], Module, Module]] = [
    (
        law,
        scope,
        Module(path=path, text=bad),
        Module(path=path, text=good),
    )
    for law, scope, path, bad, good in (
        (import_direction, LIBRARIES, "tools/a.py", "from node import pool", "import ledger.log"),
        (import_direction, LIBRARIES, "ledger/a.py", "import contracts.x", "import hashlib"),
        (import_direction, LIBRARIES, "contracts/a.py", "def f():\n import node", "import ledger"),
        (pure_imports, PURE, "ledger/a.py", "from time import time_ns", "import timeit_like"),
        (pure_imports, PURE, "contracts/a.py", "import os.path", "import hmac"),
        (pure_calls, PURE, "ledger/a.py", "open('x')", "opened('x')"),
        (pure_calls, PURE, "ledger/a.py", "datetime.now(UTC)", "clock.time_ms"),
        (
            pure_calls,
            PURE,
            "contracts/a.py",
            "p.read_text()",
            "from importlib.resources import files\nfiles('contracts').read_text()",
        ),
        (integers_only, PURE, "ledger/a.py", "q = n - (n - 1) / 3", "q = n - (n - 1) // 3"),
        (integers_only, PURE, "ledger/a.py", "share = 0.5", "share_percent = 50"),
        (
            ordered_iteration,
            PURE,
            "ledger/a.py",
            "for x in set(y): f(x)",
            "for x in sorted(set(y)): f(x)",
        ),
        (ordered_iteration, PURE, "ledger/a.py", "tuple({a, b})", "len({a, b})"),
        (banned_names, LIBRARIES, "node/a.py", "data.splitlines()", "data.split('\\n')"),
        (
            banned_names,
            LIBRARIES,
            "ledger/a.py",
            "n = int(text) if text.isdigit() else 0",
            "n = int(text) if text.isascii() and text.isdigit() else 0",
        ),
        (banned_names, LIBRARIES, "node/a.py", "import pickle", "import msgpack"),
        (banned_names, LIBRARIES, "node/a.py", "b64decode(x)", "b64decode(x, validate=True)"),
        (no_sleep, EVERYWHERE, "tests/a.py", "import time\ntime.sleep(1)", "event.wait()"),
        (
            no_swallowing,
            EVERYWHERE,
            "node/a.py",
            "try:\n f()\nexcept Exception:\n pass",
            "try:\n f()\nexcept FileNotFoundError:\n pass",
        ),
        (no_swallowing, EVERYWHERE, "node/a.py", "suppress(Exception)", "suppress(KeyError)"),
        (function_size, EVERYWHERE, "node/a.py", _long(70), _long(69)),
        (file_size, EVERYWHERE, "node/a.py", "a\n" * 601, "a\n" * 600),
        (has_docstring, EVERYWHERE, "node/a.py", "import x", '"""Why."""\nimport x'),
        (
            reasons,
            EVERYWHERE,
            "node/a.py",
            "f()  # type: ignore[misc]",
            "f()  # type: ignore[misc]  # stubs lack it",
        ),
        (reasons, EVERYWHERE, "node/a.py", "f()  # noqa: S105", "f()  # noqa: S105 - a name"),
        (nothing_left_to_do, EVERYWHERE, "node/a.py", "f()  # TODO: later", "todo = 1"),
        (one_vocabulary, EVERYWHERE, "node/a.py", "def send_tx(): ...", "context = text"),
        (one_vocabulary, EVERYWHERE, "node/a.py", "x = 1  # the blockchain", "block.chain = 1"),
    )
]

# Places of one machine have no place in files for all. The brackets keep this file out of it.
MACHINE_PATHS = re.compile(
    r"(?<!\w)/wor[k]/|(?<![\w-])share[d]/|/roo[t]/|/tmp/(wor[k]|v3\d)|\.pyen[v]/|/home/(?!user\b)\w+/"
)


def _tracked() -> list[str]:
    """List files under version control that are present; of an export, every file."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=ROOT, capture_output=True, text=True
    )
    if listing.returncode == 0:
        names = listing.stdout.split("\0")
    else:
        names = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*") if ".venv" not in p.parts]
    return sorted(name for name in names if (ROOT / name).is_file())


@cache
def _faults() -> Mapping[Law, list[str]]:
    """Faults of every module by law; each module is parsed once and then forgotten."""
    scopes = {row[0]: row[1] for row in LAWS}
    faults: dict[Law, list[str]] = {law: [] for law in scopes}
    for name in _tracked():
        if name.endswith(".py"):
            module = Module(path=name, text=(ROOT / name).read_text(encoding="utf-8"))
            for law, scope in scopes.items():
                if name.startswith(scope):
                    faults[law] += (f"{name}:{line}: {text}" for line, text in law(module))
    return faults


def crowded_packages(paths: list[str]) -> list[str]:
    """Return packages with too many modules; `__init__` and `__main__` do not count."""
    counts: dict[str, int] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if path.startswith(LIBRARIES) and name.endswith(".py") and not name.startswith("__"):
            counts[folder] = counts.get(folder, 0) + 1
    return [f"{folder}: {n}" for folder, n in counts.items() if n > PACKAGE_MODULES_MAX]


@pytest.mark.parametrize("law", dict.fromkeys(row[0] for row in LAWS), ids=lambda law: law.__name__)
def test_the_code_keeps_the_law(law: Law) -> None:
    faults = _faults()[law]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("row", LAWS, ids=lambda row: row[0].__name__)
def test_the_law_can_tell(row: tuple[Law, tuple[str, ...], Module, Module]) -> None:
    law, scope, bad, good = row
    assert bad.path.startswith(scope)
    assert list(law(bad))
    assert not list(law(good))


def test_storage_alone_may_do_input_and_output() -> None:
    text = "import os\nopen(a / b)"
    for law in (pure_imports, pure_calls, integers_only):
        assert list(law(Module(path="ledger/log.py", text=text)))
        assert not list(law(Module(path=STORAGE, text=text)))


def test_packages_stay_small() -> None:
    assert not crowded_packages(_tracked())


def test_a_crowded_package_is_seen() -> None:
    paths = [f"node/m{n}.py" for n in range(PACKAGE_MODULES_MAX)]
    assert not crowded_packages([*paths, "node/__init__.py", "node/api/x.py"])
    assert crowded_packages([*paths, "node/one_more.py"]) == ["node: 13"]


def test_no_file_names_a_place_on_one_machine() -> None:
    faults = [
        f"{name}:{number}: {found[0]}"
        for name in _tracked()
        for number, line in enumerate(
            (ROOT / name).read_bytes().decode("utf-8", errors="replace").split("\n"), start=1
        )
        if (found := MACHINE_PATHS.search(line))
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_a_place_on_one_machine_is_seen() -> None:
    for parts in (("/wor", "k/a"), ("../share", "d/a"), ("/roo", "t/.ssh"), ("/home/", "jo/x")):
        assert MACHINE_PATHS.search("".join(parts))
    for text in ("network/a", "is_shared = 1", "merkle_root/2", "/var/lib/tallystick"):
        assert not MACHINE_PATHS.search(text)
