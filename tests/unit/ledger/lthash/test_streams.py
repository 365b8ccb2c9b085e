"""Sums of streams: the module in C and `hashlib` against addition lane by lane."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.lthash.streams import (
    STREAM_BYTES,
    Pair,
    Sums,
    split_lanes,
    sum_by_hashlib,
    sum_natively,
    sum_streams,
)

ROOT = Path(__file__).parents[4]
RATE_BYTES = 168
# Around the ends of a block of SHAKE-128: the padding may fill it, or need one more.
SIZES = st.one_of(st.integers(0, 40), st.integers(RATE_BYTES - 6, RATE_BYTES + 3), st.just(1_000))
BYTES = SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size))
PAIRS = st.lists(st.tuples(BYTES, BYTES), max_size=20)
WITHOUT = "import sys; sys.modules['ledger.lthash._streams'] = None\n"


def naive(pairs: list[Pair]) -> Sums:
    lanes = [0] * (STREAM_BYTES // 2)
    for key, value in pairs:
        message = len(key).to_bytes(4, "big") + key + value
        stream = hashlib.shake_128(message).digest(STREAM_BYTES)
        for at in range(len(lanes)):
            lane = int.from_bytes(stream[2 * at : 2 * at + 2], "big")
            lanes[at] = (lanes[at] + lane) % 65_536
    odd, even = lanes[::2], lanes[1::2]
    whole = [reduce(lambda number, lane: number << 32 | lane, half, 0) for half in (even, odd)]
    return whole[0], whole[1]


def by_c(pairs: list[Pair]) -> Sums:
    assert sum_natively is not None
    return split_lanes(sum_natively(pairs))


def can_build() -> bool:
    """Whether this machine has a compiler, the headers of Python, and a processor that is able."""
    flags = Path("/proc/cpuinfo")
    has_headers = (Path(sysconfig.get_paths()["include"]) / "Python.h").exists()
    is_able = flags.exists() and " avx2 " in flags.read_text()
    return shutil.which("cc") is not None and has_headers and is_able


WAYS = [
    sum_streams,
    sum_by_hashlib,
    pytest.param(
        by_c, marks=pytest.mark.skipif(sum_natively is None, reason="the module in C is not built")
    ),
]


@pytest.mark.parametrize("way", WAYS)
@given(pairs=PAIRS)
def test_every_way_is_the_naive_one(way: Callable[[list[Pair]], Sums], pairs: list[Pair]) -> None:
    assert way(pairs) == naive(pairs)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [7, 8, 9, 300])
def test_lanes_wrap_and_every_pair_counts(way: Callable[[list[Pair]], Sums], count: int) -> None:
    pairs = [(number.to_bytes(2, "big"), bytes(number)) for number in range(count)]
    assert way(pairs) == naive(pairs)


@pytest.mark.parametrize("way", WAYS)
def test_the_sum_of_nothing_is_zero(way: Callable[[list[Pair]], Sums]) -> None:
    assert way([]) == (0, 0)


@pytest.mark.skipif(sum_natively is None, reason="the module in C is not built")
@pytest.mark.parametrize(
    "wrong",
    [
        None, (), ((b"a", b"b"),), [None], [()], [(b"a",)], [(b"a", b"b", b"c")], [[b"a", b"b"]],
        [("a", b"b")], [(b"a", "b")], [(b"a", None)], [(bytearray(b"a"), b"b")],
        [(b"a", b"b")] * 9 + [b"ab"],
    ],
)  # fmt: skip
def test_what_is_no_list_of_pairs_is_an_error(wrong: object) -> None:
    assert sum_natively is not None
    with pytest.raises(TypeError):
        sum_natively(wrong)  # type: ignore[arg-type]  # that is the test


@pytest.mark.skipif(not can_build(), reason="it needs a compiler, headers of Python and AVX2")
def test_the_module_in_c_is_there_where_it_can_be_built() -> None:
    assert sum_natively is not None, "install the package once more: make setup"


def test_without_the_module_in_c_the_sums_are_the_same() -> None:
    pairs = [(bytes([number]), bytes(number)) for number in range(40)]
    code = WITHOUT + (
        "from ledger.lthash.streams import sum_natively, sum_streams\n"
        "assert sum_natively is None\n"
        "pairs = [(bytes([number]), bytes(number)) for number in range(40)]\n"
        "print(*map(hex, sum_streams(pairs)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [hex(each) for each in sum_streams(pairs)]


def run_in(room: Path, *line: str, compiler: str = "") -> None:
    environment = os.environ | ({"CC": compiler} if compiler else {})
    done = subprocess.run(
        [sys.executable, *line], cwd=room, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A copy of what building the package needs."""
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "ledger", tmp_path / "ledger", ignore=ignored)
    return tmp_path


def test_without_a_compiler_the_package_is_built_without_the_module(room: Path) -> None:
    pytest.importorskip("setuptools")
    run_in(room, "setup.py", "-q", "build_ext", "--inplace", compiler="/bin/false")
    assert not list(room.rglob("*.so"))


@pytest.mark.parametrize("is_pure", [True, False])
def test_a_wheel_is_named_for_what_it_holds(room: Path, is_pure: bool) -> None:
    """As `pip` makes it. One without the module is installed wherever there is Python."""
    pytest.importorskip("setuptools.command.bdist_wheel", reason="setuptools is too old")
    if not is_pure and not can_build():
        pytest.skip("it needs a compiler, headers of Python and AVX2")
    line = ("-m", "pip", "wheel", ".", "--no-build-isolation", "--no-deps", "-w", "made")
    run_in(room, *line, compiler="/bin/false" if is_pure else "")
    (wheel,) = (room / "made").iterdir()
    tag = wheel.stem.split("-", 2)[2]
    assert tag == "py3-none-any" if is_pure else tag.startswith("cp311-abi3-linux_")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (about,) = (name for name in names if name.endswith("/WHEEL"))
        told = archive.read(about).decode().splitlines()
    assert f"Tag: {tag}" in told
    assert f"Root-Is-Purelib: {str(is_pure).lower()}" in told
    assert "ledger/lthash/streams.py" in names
    assert any(name.endswith(".so") for name in names) != is_pure


def test_a_module_that_sums_wrongly_is_not_used() -> None:
    code = (
        "import sys, types\n"
        "module = types.ModuleType('ledger.lthash._streams')\n"
        "module.sum_pairs = lambda pairs: bytes(2_048)\n"
        "sys.modules['ledger.lthash._streams'] = module\n"
        "import ledger.lthash; ledger.lthash._streams = module\n"
        "from ledger.lthash.streams import sum_by_hashlib, sum_natively, sum_streams\n"
        "assert sum_natively is None\n"
        "assert sum_streams([(b'a', b'b')]) == sum_by_hashlib([(b'a', b'b')]) != (0, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
