"""Open duties of all members, kept up with the log: who owes what by when.

The first question reads every exchange and incident of the state; from then on a final block
touches only what its events are about. A duty is a gap from its time on, in block time.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from contracts.exchange.duties import Duty, exchange_duties, incident_duties
from contracts.exchange.incidents import find_incident
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.lookup import find_exchange
from ledger.events import Event
from ledger.exchange.incidents import IncidentBody
from ledger.exchange.matters import DeadlineRules
from ledger.log import Log

SCAN_PAIRS = 500


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Task:
    """A duty and what it is about, in order of its time: `subject` is an exchange or incident."""

    due_ms: int
    subject: bytes
    gap: str
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounts:
    """How many duties are open, and overdue, of each gap."""

    open: dict[str, int]
    overdue: dict[str, int]


class DutyBook:
    """Duties by what they are about."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._duties: dict[bytes, tuple[Duty, ...]] | None = None
        self._rules: DeadlineRules | None = None
        self._sorted: tuple[Task, ...] | None = None

    def note_final(self, events: Iterable[Event]) -> None:
        """Events are final: look again at what they are about."""
        if self._duties is None:
            return
        if read_deadlines(self._log) != self._rules:
            self._duties = self._sorted = None
            return
        for event in events:
            if event.exchange:
                self._put(event.exchange, self._of_exchange(event.exchange))
            elif isinstance(event.body, IncidentBody):
                self._put(event.subject, self._of_incident(event.subject))

    def tasks(self) -> tuple[Task, ...]:
        """All open duties, by time."""
        if self._sorted is None:
            self._sorted = tuple(
                sorted(
                    Task(due_ms=duty.due_ms, subject=subject, gap=duty.gap, member=duty.member)
                    for subject, duties in self._read().items()
                    for duty in duties
                )
            )
        return self._sorted

    def count(self, time_ms: int) -> TaskCounts:
        """How many of each gap at a block time."""
        tasks = self.tasks()
        overdue = bisect_right(tasks, time_ms - 1, key=lambda task: task.due_ms)
        return TaskCounts(
            open=dict(Counter(task.gap for task in tasks)),
            overdue=dict(Counter(task.gap for task in tasks[:overdue])),
        )

    def of_exchange(self, exchange: bytes) -> tuple[Duty, ...]:
        """Open duties of one exchange."""
        self._rules = read_deadlines(self._log)
        return self._of_exchange(exchange)

    def _read(self) -> dict[bytes, tuple[Duty, ...]]:
        if self._duties is None:
            self._rules = read_deadlines(self._log)
            self._duties = {}
            for exchange in self._scan(b"x/"):
                self._put(exchange, self._of_exchange(exchange))
            for incident in self._scan(b"I/"):
                self._put(incident, self._of_incident(incident))
        return self._duties

    def _put(self, subject: bytes, duties: tuple[Duty, ...]) -> None:
        assert self._duties is not None, "only what was read is kept up"
        if self._duties.get(subject, ()) == duties:
            return
        self._sorted = None
        if duties:
            self._duties[subject] = duties
        else:
            del self._duties[subject]

    def _of_exchange(self, id_: bytes) -> tuple[Duty, ...]:
        exchange = find_exchange(self._log, id_)
        if exchange is None:  # the request was refused
            return ()
        assert self._rules is not None, "rules are read first"
        return exchange_duties(exchange, read_matters(self._log, id_, exchange), self._rules)

    def _of_incident(self, id_: bytes) -> tuple[Duty, ...]:
        incident = find_incident(self._log, id_)
        if incident is None:
            return ()
        assert self._rules is not None, "rules are read first"
        return incident_duties(incident, self._rules)

    def _scan(self, prefix: bytes) -> Iterator[bytes]:
        """Ids of all values under a prefix."""
        start = prefix
        while True:
            page = self._log.scan_state(prefix, start, SCAN_PAIRS)
            yield from (key[len(prefix) :] for key, _ in page)
            if len(page) < SCAN_PAIRS:
                return
            start = page[-1][0] + b"\0"
