"""What the server shows on /metrics: the names of the C++ reward server (reward_server/score_metrics.h)."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import MetricsHandler

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OUTCOMES = ("reward", "bad_input", "overloaded", "broken")


class ScorerSeries:
    """The series of one reward. Thread-safe."""

    def __init__(self, metrics: Metrics, scorer: str) -> None:
        self.seconds = metrics.seconds.labels(scorer)
        self.waited_seconds = metrics.waited_seconds.labels(scorer)
        self.request_seconds = metrics.request_seconds.labels(scorer)
        self.batch_images = metrics.batch_images.labels(scorer)
        self.queued_images = metrics.queued_images.labels(scorer)
        self.is_healthy = metrics.is_healthy.labels(scorer)
        self.memory_bytes = metrics.memory_bytes.labels(scorer)
        self.images = {outcome: metrics.images.labels(scorer, outcome) for outcome in OUTCOMES}


class Metrics:
    """All of them. Thread-safe."""

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        build = Gauge(
            "flowawr_build_info", "Always 1; the labels say what runs.", ["process", "version"], registry=registry
        )
        build.labels("python_reward", version).set(1)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(name, text, ["scorer"], registry=registry, buckets=buckets)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ["scorer"], registry=registry)

        self.seconds = histogram(
            "flowawr_scoring_seconds", "Time of one call of a scorer, which scores a batch of images.", _SECONDS
        )
        self.waited_seconds = histogram(
            "flowawr_scorer_wait_seconds", "Time that an image waited for its scorer.", _SECONDS
        )
        self.request_seconds = histogram(
            "flowawr_score_request_seconds", "Time from a request's coming to its answer.", _SECONDS
        )
        self.batch_images = histogram(
            "flowawr_scoring_batch_images", "Images that a scorer was given at once.", _IMAGES
        )
        self.queued_images = gauge("flowawr_scorer_queue_images", "Images that wait for a scorer.")
        self.is_healthy = gauge("flowawr_scorer_healthy", "1; 0 while a call of the scorer does not return.")
        self.memory_bytes = gauge(
            "flowawr_scorer_memory_bytes", "Of a scorer's weights, those that it shares included."
        )
        self.images = Counter(
            "flowawr_scored_images",
            "Images by scorer and what came of them.",
            ["scorer", "outcome"],
            registry=registry,
        )


class MetricsPage:
    """The HTTP server of the page. A client that sends or reads slowly occupies one thread, for two seconds at most."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """OSError when it cannot listen there."""

        class Handler(MetricsHandler.factory(metrics.registry)):  # type: ignore[misc]
            timeout = 2

        class Page(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        self._server = Page((host, port), Handler)
        self.endpoint = join_host_port(host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Nobody outside this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
