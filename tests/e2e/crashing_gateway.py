"""A gateway that ends as by kill -9 at a durable change: just before it, or just after.

`python -m tests.e2e.crashing_gateway --config FILE` with `CRASH_AT` and `CRASH_WHEN` (`before` or
`after`). A change is named by the stage that a job is in with it, and `+event` while the job has a
signed event on its way: `prepare`, `deliver+event`, `offered`. `CRASH_SMALL` is the size in bytes
up to which payloads go through several stages at once, where that is to be another than usual.
"""

import os
import sys
from collections.abc import Sequence

from node.gateway import store
from node.gateway.__main__ import main
from node.gateway.jobs import Job
from node.gateway.steps import acquire

AT, WHEN = os.environ["CRASH_AT"], os.environ["CRASH_WHEN"]
_commit = store.Store._commit


def _name(job: Job) -> str:
    return f"{job.stage}+event" if job.event else job.stage


def _dying_commit(self: store.Store, changes: Sequence[store.Change]) -> None:
    is_here = any(_name(job) == AT for jobs, _, _ in changes for job in jobs)
    if is_here and WHEN == "before":
        os._exit(9)
    _commit(self, changes)
    if is_here:
        os._exit(9)


acquire.AT_ONCE_BYTES_MAX = int(os.environ.get("CRASH_SMALL", acquire.AT_ONCE_BYTES_MAX))
store.Store._commit = _dying_commit  # type: ignore[method-assign]  # the fault that is injected

if __name__ == "__main__":
    sys.exit(main())
