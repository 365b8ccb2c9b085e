"""A real PostgreSQL for tests: a fresh cluster in a folder of its own, on a Unix socket there."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# It refuses to run as root; of accounts that every Debian has, the one with the fewest rights.
ACCOUNT = "nobody"
SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
INITDB = str(SERVERS[-1]) if SERVERS else shutil.which("initdb") or ""
WHY = (
    "the extra sql is not installed (pip install tallystick[sql])"
    if find_spec("sqlalchemy") is None or find_spec("psycopg") is None
    else ""
    if INITDB
    else "PostgreSQL is not installed (apt-get install postgresql)"
)
needs_postgres = pytest.mark.skipif(bool(WHY), reason=WHY)


@contextmanager
def fresh_postgres() -> Iterator[str]:
    """URL of a database with one account, `reader`, who owns it.

    Its folder is none of a test's, in which only the owner gets anywhere, and has a short path, as
    sockets need.
    """
    with TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        user = None
        if os.geteuid() == 0:
            user = ACCOUNT
            record = pwd.getpwnam(ACCOUNT)
            os.chown(folder, record.pw_uid, record.pw_gid)
        with _running(folder, user):
            yield f"postgresql://reader@/postgres?host={folder}"


@contextmanager
def _running(folder: str, user: str | None) -> Iterator[None]:
    program = Path(INITDB)

    def run(name: str, *arguments: str) -> None:
        command = (str(program.with_name(name)), *arguments)
        subprocess.run(command, check=True, capture_output=True, user=user, cwd=folder)

    data = f"{folder}/data"
    run(
        "initdb", "-D", data, "-U", "reader", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
    )
    settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-o", settings, "-l", f"{folder}/log", "-w", "start")
    try:
        yield
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
