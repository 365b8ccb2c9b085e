"""Parts of a replay on many machines, by a Dask scheduler and its workers (extra `cluster`).

Every worker needs this software and the copy under the same path. Results come back unsigned, over
the connection to the scheduler: whoever runs the cluster is believed. Between agencies that do not
believe each other, signed files are carried instead (`tally audit segment`).
"""

import re
from collections.abc import Sequence

from tools.audit.results import Result
from tools.audit.segments import OnEntries, Part, run_part, told
from tools.exits import InvalidInput, Unreachable

CONNECT_S_MAX = 30
# Dask says at once what is wrong with another one, and then for a minute waits for itself.
_ADDRESS = re.compile(r"\S+:[0-9]{1,5}/?\Z")


def replay_on_cluster(parts: Sequence[Part], address: str, on_entries: OnEntries) -> list[Result]:
    """Replay parts by the workers of the scheduler at `address`.

    Raises `InvalidInput` of the first that said nothing, or `Unreachable`.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise InvalidInput("extra-missing", "tallystick[cluster]") from None
    if not _ADDRESS.match(address):
        raise Unreachable("cluster-unreachable", address)
    try:
        client = Client(address, timeout=CONNECT_S_MAX, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise Unreachable("cluster-unreachable", f"{address}: {error}") from None
    with client:
        # Not pure: the same part is replayed again when it is asked for again.
        futures = [client.submit(run_part, part, pure=False) for part in parts]
        done = 0
        for _, answer in as_completed(futures, loop=client.loop, with_results=True):
            if isinstance(answer, Result) and answer.last is not None:
                done += answer.last.entries - answer.first.entries
            on_entries(done)
        return told([future.result() for future in futures])
