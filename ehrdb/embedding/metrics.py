"""Prometheus metrics: read from the database at every scrape, so they cannot drift from the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ehrdb.database import Database
from ehrdb.errors import ConfigError
from ehrdb.patience import PASSING
from ehrdb.queries import Queries

_queries = Queries("ehrdb.embedding")

_BY_ENCODER = {
    "patients": "Patients known",
    "patients_embedded": "Patients with a current vector",
    "patients_stale": "Patients whose text changed since their vector was made",
    "patients_unchecked": "Patients with changed events that no refresh has looked at",
    "contents_pending": "Contents waiting for a vector",
    "contents_leased": "Contents that a worker holds",
    "contents_dead": "Contents given up after repeated failures",
    "contents_truncated": "Vectors made of truncated texts",
    "contents_per_minute": "Contents embedded per minute, over the last ten",
    "oldest_pending_seconds": "Age of the oldest pending content",
    "last_run_timestamp_seconds": "When the last refresh ended (Unix time)",
    "last_run_failed": "Texts that failed in the last refresh",
    "is_serving": "1 for the encoder that answers queries",
}

_BY_HEAD = {
    "head_alarm": "1 where a head's newest month that could be judged is not as expected (`ehrdb monitor`)",
    "head_checked_timestamp_seconds": "When `ehrdb monitor` last looked at the head (Unix time)",
}

Vitals = Callable[[], Mapping[str, float]]
"""A process's own figures: name (without `ehrdb_`) to value."""


class StatusCollector(Collector):
    """ehr.embedding_status as gauges, ehrdb_up: whether the database answered, and the process's own figures."""

    def __init__(self, database: Database, vitals: Vitals = dict) -> None:
        self._database = database
        self._vitals = vitals

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges; while the database does not answer, ehrdb_up at 0 and the process's own."""
        for name, value in self._vitals().items():
            yield GaugeMetricFamily(f"ehrdb_{name}", f"Of this process: {name.replace('_', ' ')}", value)
        yield from self._status()

    def _status(self) -> Iterator[GaugeMetricFamily]:
        try:
            with self._database.transaction() as connection:
                rows = connection.execute(_queries.metrics).fetchall()
                reasons = connection.execute(_queries.failure_reasons).fetchall()
                alarms = connection.execute(_queries.head_alarms).fetchall()
        except PASSING:
            yield GaugeMetricFamily("ehrdb_up", "Whether the database answers", 0)
            return
        yield GaugeMetricFamily("ehrdb_up", "Whether the database answers", 1)
        for position, (name, meaning) in enumerate(_BY_ENCODER.items()):
            gauge = GaugeMetricFamily(f"ehrdb_{name}", meaning, labels=["encoder", "digest"])
            for encoder, digest, *figures in rows:
                gauge.add_metric([encoder, digest], figures[position])
            yield gauge
        failed = GaugeMetricFamily("ehrdb_contents_failed", "Failed contents, by error", labels=["encoder", "reason"])
        for encoder, reason, contents in reasons:
            failed.add_metric([encoder, reason], contents)
        yield failed
        for position, (name, meaning) in enumerate(_BY_HEAD.items()):
            gauge = GaugeMetricFamily(f"ehrdb_{name}", meaning, labels=["encoder", "task"])
            for encoder, task, *figures in alarms:
                gauge.add_metric([encoder, task], figures[position])
            yield gauge


def serve_metrics(database: Database, host: str, port: int, vitals: Vitals = dict) -> None:
    """Answer scrapes at http://host:port/metrics, from a thread of its own, until the process ends."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(database, vitals))
    try:
        start_http_server(port, addr=host, registry=registry)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"metrics cannot be served at {host}:{port}: {getattr(error, 'strerror', None) or type(error).__name__}",
            hint="Choose another --metrics-port, or an address of this machine as --metrics-host.",
        ) from None
