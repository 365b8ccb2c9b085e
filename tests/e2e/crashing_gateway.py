"""A gateway that ends as by kill -9 at its n-th durable change: just before it, or just after.

`python -m tests.e2e.crashing_gateway --config FILE` with `CRASH_AT` (number) and `CRASH_WHEN`
(`before` or `after`). Changes of the height alone do not count.
"""

import itertools
import os
import sys
from collections.abc import Sequence

from node.gateway import store
from node.gateway.__main__ import main

AT, WHEN = int(os.environ["CRASH_AT"]), os.environ["CRASH_WHEN"]
_commit = store.Store._commit
_numbers = itertools.count(1)


def _dying_commit(self: store.Store, changes: Sequence[store.Change]) -> None:
    number = next(_numbers) if any(jobs for jobs, _, _ in changes) else 0
    if number == AT and WHEN == "before":
        os._exit(9)
    _commit(self, changes)
    if number == AT:
        os._exit(9)


store.Store._commit = _dying_commit  # type: ignore[method-assign]  # the fault that is injected

if __name__ == "__main__":
    sys.exit(main())
