"""Open duties of all members, kept up with the log: who owes what by when.

The first question reads every exchange and incident of the state; from then on a final block
touches only what its events are about. A duty is a gap from its time on, in block time.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.exchange.duties import Duty, exchange_duties, incident_duties
from contracts.exchange.incidents import find_incident
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.lookup import find_exchange
from ledger.events import Event
from ledger.exchange.incidents import IncidentBody
from ledger.exchange.matters import DeadlineRules
from ledger.log import Log
from node.oversight.scan import scan_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Duty):
    """A duty with what it is about: `subject` is an exchange or an incident."""

    subject: bytes

    @property
    def place(self) -> bytes:
        """Where it stands among all: in order of its time."""
        name = f"{self.gap}/{self.member}".encode()
        return self.due_ms.to_bytes(8, "big") + self.subject + name


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
        rules = read_deadlines(self._log)
        if rules != self._rules:
            self._duties = self._sorted = None
            return
        for event in events:
            if event.exchange:
                self._put(event.exchange, self._of_exchange(event.exchange, rules))
            elif isinstance(event.body, IncidentBody):
                self._put(event.subject, self._of_incident(event.subject, rules))

    def tasks(self) -> tuple[Task, ...]:
        """All open duties, by time."""
        if self._sorted is None:
            self._sorted = tuple(
                sorted(
                    (
                        Task(member=duty.member, gap=duty.gap, due_ms=duty.due_ms, subject=subject)
                        for subject, duties in self._read().items()
                        for duty in duties
                    ),
                    key=lambda task: task.place,
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
        return self._of_exchange(exchange, read_deadlines(self._log))

    def _read(self) -> dict[bytes, tuple[Duty, ...]]:
        if self._duties is None:
            rules = self._rules = read_deadlines(self._log)
            self._duties = {}
            for key, _ in scan_pairs(self._log, b"x/"):
                self._put(key[2:], self._of_exchange(key[2:], rules))
            for key, _ in scan_pairs(self._log, b"I/"):
                self._put(key[2:], self._of_incident(key[2:], rules))
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

    def _of_exchange(self, id_: bytes, rules: DeadlineRules) -> tuple[Duty, ...]:
        exchange = find_exchange(self._log, id_)
        if exchange is None:  # the request was refused
            return ()
        return exchange_duties(exchange, read_matters(self._log, id_, exchange), rules)

    def _of_incident(self, id_: bytes, rules: DeadlineRules) -> tuple[Duty, ...]:
        incident = find_incident(self._log, id_)
        if incident is None:
            return ()
        return incident_duties(incident, rules)
