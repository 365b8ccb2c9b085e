"""Break the production code in one place at a time, and see that a test fails.

    python -m tests.mutation.run                  every mutation of the list
    python -m tests.mutation.run quorum wal       those whose name or file has one of these words
    python -m tests.mutation.run --list           show them
    python -m tests.mutation.run --json           the result as JSON on standard output

Files that git knows or does not ignore are copied, as they are now, to a temporary directory;
nothing outside it changes. First every catcher runs there without a mutation and must pass, then
once for each mutation and must fail. A run that does not end counts as a failure. A test that
cannot even be collected does not: the mutation is broken then. Exit code 1 if one survives or is
broken.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

from tests.mutation.mutation import Mutation, read_mutations

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 300
KILLED, SURVIVED, BROKEN = "killed", "SURVIVED", "BROKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a mutation: `why` is the line that tells the failure."""

    name: str
    rule: str
    path: str
    catcher: str
    status: str
    seconds: float
    why: str


def copy_tree(target: Path) -> None:
    """Files that git knows or does not ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def run_catchers(tree: Path, catchers: Sequence[str], *, limit_s: int = LIMIT_S) -> tuple[int, str]:
    """Exit code and output; pytest nodes run together. 124: the time was up."""
    if catchers[0].startswith("-m"):
        arguments = catchers[0].split()
    else:
        options = ["-x", "-q", "--no-header", "--tb=short", "-p", "no:cacheprovider"]
        arguments = ["-m", "pytest", *options, *catchers]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return 124, f"not done after {limit_s} s"
    return done.returncode, done.stdout


@contextmanager
def mutated(tree: Path, mutation: Mutation) -> Iterator[None]:
    """The tree with the mutation in it."""
    path = tree / mutation.path
    text = path.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.name}: the text does not occur once"
    changed = text.replace(mutation.old, mutation.new)
    compile(changed, str(path), "exec")
    # Bytecode is known by size and second of its source: every text gets a second of its own.
    second = int(path.stat().st_mtime) + 1
    path.write_text(changed, encoding="utf-8")
    os.utime(path, (second, second))
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, (second + 1, second + 1))


def judge(tree: Path, mutation: Mutation) -> Outcome:
    """Run the catcher of a mutation against it."""
    began = time.monotonic()
    with mutated(tree, mutation):
        code, output = run_catchers(tree, [mutation.catcher])
    status = {0: SURVIVED, 1: KILLED, 124: KILLED}.get(code, BROKEN)
    return Outcome(
        name=mutation.name,
        rule=mutation.rule,
        path=mutation.path,
        catcher=mutation.catcher,
        status=status,
        seconds=round(time.monotonic() - began, 1),
        why=_tell(output) if status != SURVIVED else "",
    )


def _tell(output: str) -> str:
    """The first line of pytest's that tells the error, or the last line of all."""
    lines = [line.strip() for line in output.split("\n") if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (errors or lines[-1:] or [""])[0][:100]


def check_baseline(tree: Path, mutations: Sequence[Mutation]) -> list[str]:
    """What fails without any mutation."""
    catchers = list(dict.fromkeys(mutation.catcher for mutation in mutations))
    nodes = [each for each in catchers if not each.startswith("-m")]
    groups = [nodes] if nodes else []
    groups += [[each] for each in catchers if each.startswith("-m")]
    faults = []
    for group in groups:
        code, output = run_catchers(tree, group, limit_s=2 * LIMIT_S)
        if code != 0:
            faults.append(f"without a mutation: {_tell(output)}\n{output[-2_000:]}")
    return faults


def run_all(mutations: Sequence[Mutation], *, workers: int) -> Iterator[Outcome]:
    """Outcomes in the order of the list."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        trees: Queue[Path] = Queue()
        for number in range(workers):
            tree = Path(directory) / str(number)
            copy_tree(tree)
            trees.put(tree)

        def work(mutation: Mutation) -> Outcome:
            tree = trees.get()
            try:
                return judge(tree, mutation)
            finally:
                trees.put(tree)

        first = trees.queue[0]
        faults = check_baseline(first, mutations)
        if faults:
            raise SystemExit("\n".join(faults))
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(work, mutations)


def select(words: Sequence[str]) -> list[Mutation]:
    """Mutations whose name or file has one of the words; all if there are no words."""
    return [
        mutation
        for mutation in read_mutations()
        if not words or any(word in f"{mutation.name} {mutation.path}" for word in words)
    ]


def main() -> int:
    """Run, show progress, sum up."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("words", nargs="*", metavar="NAME", help="part of a name or of a file")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.add_argument("--list", action="store_true", help="show the mutations, run none")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="runs at a time")
    options = parser.parse_args()
    mutations = select(options.words)
    if not mutations:
        parser.error("no mutation has such a name")
    if options.list:
        for each in mutations:
            print(f"{each.path:28} {each.rule:12} {each.name:52} {each.catcher}")
        return 0
    outcomes = []
    for number, outcome in enumerate(run_all(mutations, workers=options.workers), start=1):
        outcomes.append(outcome)
        line = (
            f"{number:3}/{len(mutations)} {outcome.status:8} {outcome.seconds:5.1f} s  "
            f"{outcome.rule:12} {outcome.name:52} {outcome.catcher.rpartition('::')[2]}: "
            f"{outcome.why}"
        )
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)
    alive = [each for each in outcomes if each.status != KILLED]
    if options.json:
        print(json.dumps([asdict(each) for each in outcomes], indent=1))
    else:
        print(f"{len(outcomes) - len(alive)} of {len(outcomes)} killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
