"""What a gateway measures, in the text format of Prometheus; counted from its jobs when asked."""

from collections import Counter
from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from node.gateway.signing import Signing
from node.gateway.store import Store


class Metrics(Collector):
    """Figures of one gateway. `failures` counts failed steps by their code since the start."""

    def __init__(self, store: Store, signing: Signing) -> None:
        self.failures: Counter[str] = Counter()
        self._store = store
        self._signing = signing
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All figures."""
        jobs = GaugeMetricFamily(
            "tallystick_gateway_jobs",
            "Exchanges by side and stage; held ones wait for a person",
            labels=("side", "stage"),
        )
        for side, stage, count in self._store.count_by_stage():
            jobs.add_metric((side, stage), count)
        yield jobs
        failures = CounterMetricFamily(
            "tallystick_gateway_step_failures",
            "Steps that failed since the start, by code",
            labels=("code",),
        )
        for code, count in sorted(self.failures.items()):
            failures.add_metric((code,), count)
        yield failures
        yield GaugeMetricFamily(
            "tallystick_gateway_height",
            "Height up to which the gateway follows the ledger",
            value=self._signing.height,
        )

    def app(self) -> web.Application:
        """The application for the listener of metrics."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        return app

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
