"""What a node measures, in a registry of its own: nothing is shared between nodes of a process."""

import math
import time
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from contracts.exchange.duties import GAPS
from node.diagnosis.facts import Facts
from node.diagnosis.rules import diagnose
from node.hooks.delivery import HookState
from node.oversight.duties import TaskCounts
from node.oversight.overseer import Oversight
from node.service import EventState, EventStatus, FinalBlock, NodeStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST
SUBMITTED_REMEMBERED_MAX = 100_000
_LATENCY_BUCKETS_S = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)


_GAUGES = (
    ("height", "Height of the newest final block"),
    ("epoch", "Present epoch"),
    ("view", "Present consensus view"),
    ("validator", "1 while this node votes"),
    ("tree_size", "Final entries of the log"),
    ("checkpoint_size", "Entries under the newest quorum checkpoint"),
    ("checkpoint_behind_seconds", "For how long the newest entries have no quorum checkpoint"),
    ("pending_events", "Events that wait to be ordered"),
    ("oldest_pending_seconds", "For how long the oldest pending event waits"),
    ("stalled_seconds", "For how long something waits and nothing became final"),
    ("syncing", "1 while catching up"),
    ("catch_up_blocks_per_minute", "Final blocks of the last minute"),
    ("peers_connected", "Peers with a working link"),
    ("dropped_frames", "Frames since the start that a slow peer did not take"),
    ("dropped_messages", "Consensus messages since the start that this node could not take"),
    ("evidence", "Pairs of contradictory votes seen since the start"),
    ("clock_skew_seconds", "Median of the peers' clocks minus ours"),
    ("disk_free_bytes", "Free space for the data directory"),
    ("disk_sync_seconds", "Duration of the last durable write of votes"),
    ("certificate_seconds_left", "Time until the own TLS certificate ends"),
    ("proposals_open", "Proposals that ballots still count for"),
    ("freezes", "Emergency freezes in force"),
    ("access_lines", "Lines of the access log since it began"),
)
_PEER_GAUGES = (
    ("height", "Final height of a peer"),
    ("silent_seconds", "Since when nothing was heard of a peer"),
    ("certificate_seconds_left", "Time until a peer's TLS certificate ends"),
)

_LABELLED_GAUGES = (
    (
        "certificate_expiry_days",
        "Days until the certificate of a validator on the ledger ends",
        ("member",),
    ),
    (
        "key_expiry_days",
        "Days until a key of the own member ends, by its fingerprint",
        ("kind", "key"),
    ),
    (
        "days_left",
        "Days until what ends within 60 days ends, by its kind and id",
        ("kind", "id"),
    ),
    ("hook_height", "Height from which a webhook goes on", ("hook",)),
    ("hook_failures", "Attempts since a webhook last took a record", ("hook",)),
    ("hook_delivered", "Records that a webhook took since the start", ("hook",)),
    (
        "duties",
        "What members owe, by what is missing otherwise: open, and overdue in block time",
        ("gap", "state"),
    ),
)


def _seconds(milliseconds: int | None) -> float:
    """Not a number where it is not known: a 0 would look like a measurement."""
    return math.nan if milliseconds is None else milliseconds / 1000


class Metrics:
    """Figures of one node. `on_*` are called where things happen, gauges are set when read."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self._submitted_at_s: OrderedDict[bytes, float] = OrderedDict()
        self._submissions = Counter(
            "tallystick_submissions",
            "Answers to submitted events",
            ("state", "code"),
            registry=registry,
        )
        self._events = Counter(
            "tallystick_events",
            "Final events by kind and whether they applied",
            ("kind", "applied"),
            registry=registry,
        )
        self._decisions = Counter(
            "tallystick_decisions", "Decisions of contracts", ("decision",), registry=registry
        )
        self._policies = Counter(
            "tallystick_policy_decisions",
            "Decisions by determining contract",
            ("policy", "decision"),
            registry=registry,
        )
        self._latency = Histogram(
            "tallystick_finality_seconds",
            "From submission here to final and durable here",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._blocks = Counter("tallystick_blocks", "Final blocks", registry=registry)
        self._responses = Counter(
            "tallystick_http_responses",
            "HTTP responses by route and status",
            ("method", "route", "status"),
            registry=registry,
        )
        self._errors = Counter(
            "tallystick_unexpected_errors", "Errors that nobody foresaw", registry=registry
        )
        self._gauges = {
            name: Gauge(f"tallystick_{name}", text, registry=registry) for name, text in _GAUGES
        }
        self._of_peer = {
            name: Gauge(f"tallystick_peer_{name}", text, ("peer",), registry=registry)
            for name, text in _PEER_GAUGES
        }
        self._labelled = {
            name: Gauge(f"tallystick_{name}", text, labels, registry=registry)
            for name, text, labels in _LABELLED_GAUGES
        }
        self._findings = Gauge(
            "tallystick_findings",
            "Findings of the diagnosis now, by severity and code",
            ("severity", "code"),
            registry=registry,
        )

    def on_submit(self, statuses: Iterable[EventStatus]) -> None:
        """Events were submitted through an interface of this node."""
        now_s = time.monotonic()
        answers: Tally[tuple[str, str]] = Tally()
        for status in statuses:
            answers[status.state.value, status.code] += 1
            if status.state is EventState.PENDING:
                self._submitted_at_s.setdefault(status.digest, now_s)
        while len(self._submitted_at_s) > SUBMITTED_REMEMBERED_MAX:
            self._submitted_at_s.popitem(last=False)
        for labels, count in answers.items():
            self._submissions.labels(*labels).inc(count)

    def on_block(self, block: FinalBlock) -> None:
        """A block is final and durable here."""
        now_s = time.monotonic()
        self._blocks.inc()
        for record in block.records:
            outcome = record.outcome
            self._events.labels(record.event.kind, "yes" if outcome.applied else "no").inc()
            if outcome.decision:
                self._decisions.labels(outcome.decision).inc()
                for policy in outcome.policies:
                    self._policies.labels(policy, outcome.decision).inc()
            submitted_s = self._submitted_at_s.pop(record.event.digest, None)
            if submitted_s is not None:
                self._latency.observe(now_s - submitted_s)

    def on_response(self, method: str, route: str, status: int) -> None:
        """An HTTP response was made; `route` is the template, never the client's path."""
        self._responses.labels(method, route, str(status)).inc()

    def on_error(self) -> None:
        """An unexpected error was answered and logged."""
        self._errors.inc()

    def set_status(self, status: NodeStatus) -> None:
        """Set the gauges from a snapshot of the node."""
        gauges = self._gauges
        gauges["height"].set(status.height)
        gauges["view"].set(status.view)
        gauges["tree_size"].set(status.tree_size)
        gauges["checkpoint_size"].set(status.checkpoint_size)
        gauges["pending_events"].set(status.pending)
        gauges["syncing"].set(int(status.syncing))
        gauges["epoch"].set(status.epoch)
        gauges["validator"].set(int(status.is_validator))
        gauges["dropped_frames"].set(status.dropped_frames)
        gauges["dropped_messages"].set(status.dropped_messages)
        gauges["evidence"].set(status.evidence)
        gauges["peers_connected"].set(sum(peer.connected for peer in status.peers))
        for peer in status.peers:
            self._of_peer["height"].labels(peer.member).set(peer.final_height)

    def set_facts(self, facts: Facts) -> None:
        """Set the gauges that a diagnosis looks at, and what it finds."""
        gauges = self._gauges
        gauges["stalled_seconds"].set(facts.stalled_ms / 1000)
        gauges["oldest_pending_seconds"].set(facts.pool.oldest_ms / 1000)
        gauges["checkpoint_behind_seconds"].set(facts.cosigning.behind_ms / 1000)
        gauges["catch_up_blocks_per_minute"].set(facts.sync.blocks_per_minute)
        gauges["clock_skew_seconds"].set(_seconds(facts.clock_skew_ms))
        gauges["disk_free_bytes"].set(facts.disk.free_bytes)
        gauges["disk_sync_seconds"].set(_seconds(facts.disk.sync_ms))
        gauges["certificate_seconds_left"].set(
            (facts.certificate_expires_ms - facts.wall_ms) / 1000
        )
        of_peer = self._of_peer
        for gauge in (*of_peer.values(), self._findings):
            gauge.clear()
        for peer in facts.peers:
            of_peer["height"].labels(peer.member).set(peer.final_height)
            silent_ms = None if peer.silent_ms < 0 else peer.silent_ms
            of_peer["silent_seconds"].labels(peer.member).set(_seconds(silent_ms))
            left_ms = (
                None
                if peer.certificate_expires_ms is None
                else peer.certificate_expires_ms - facts.wall_ms
            )
            of_peer["certificate_seconds_left"].labels(peer.member).set(_seconds(left_ms))
        for finding in diagnose(facts):
            self._findings.labels(finding.severity.word, finding.code).inc()

    def set_oversight(self, oversight: Oversight) -> None:
        """Set the gauges of governance."""
        self._gauges["proposals_open"].set(len(oversight.open))
        self._gauges["freezes"].set(len(oversight.freezes))
        self._labelled["days_left"].clear()
        for each in oversight.expiring:
            self._labelled["days_left"].labels(each.kind, each.id).set(each.days_left)
        self._labelled["certificate_expiry_days"].clear()
        for member, days in oversight.certificate_days.items():
            self._labelled["certificate_expiry_days"].labels(member).set(
                math.nan if days is None else days
            )
        self._labelled["key_expiry_days"].clear()
        for (kind, key), left in oversight.key_days.items():
            self._labelled["key_expiry_days"].labels(kind, key).set(left)

    def set_duties(self, counts: TaskCounts) -> None:
        """Set the gauges of what members owe."""
        self._labelled["duties"].clear()
        for state, found in (("open", counts.open), ("overdue", counts.overdue)):
            for gap in GAPS:
                self._labelled["duties"].labels(gap, state).set(found.get(gap, 0))

    def set_hooks(self, hooks: Iterable[HookState]) -> None:
        """Set the gauges of webhooks."""
        for hook in hooks:
            self._labelled["hook_height"].labels(hook.id).set(hook.height)
            self._labelled["hook_failures"].labels(hook.id).set(hook.failures)
            self._labelled["hook_delivered"].labels(hook.id).set(hook.delivered)

    def set_access(self, lines: int) -> None:
        """Set the gauge of the access log."""
        self._gauges["access_lines"].set(lines)

    def encode(self) -> bytes:
        """All figures as Prometheus text."""
        return generate_latest(self.registry)
