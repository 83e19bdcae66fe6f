"""The worker's Prometheus metrics. Labels are names from closed lists, never ids or users."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_API_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_CALL_SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 60, 120, 300, 600)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)


class Metrics:
    """One registry a worker, so that several can live in one process (tests do)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.executions = self._counter(
            "executions", "Attempts that ended, by outcome and category", "outcome", "category"
        )
        self.call_seconds = self._histogram("call_seconds", "From claim to outcome", _CALL_SECONDS)
        self.in_flight = Gauge(
            "flowstate_worker_in_flight",
            "Attempts claimed and not yet stored",
            registry=self.registry,
        )
        self.unstored = Gauge(
            "flowstate_worker_unstored_outcomes",
            "Outcomes that wait for the API",
            registry=self.registry,
        )
        self.claim_seconds = self._histogram("claim_seconds", "Time of a claim", _API_SECONDS)
        self.claim_size = self._histogram("claim_size", "Executions in a claim", _SIZES)
        self.finish_seconds = self._histogram("finish_seconds", "Time of a finish", _API_SECONDS)
        self.finish_size = self._histogram("finish_size", "Outcomes in a finish", _SIZES)
        self.finish_answers = self._counter(
            "finish_answers", "What the queue said to outcomes", "answer"
        )
        self.leases_lost = self._counter("leases_lost", "Leases lost before their outcome")
        self.rescued = self._counter("rescued", "Expired executions returned by this worker")
        self.wakeups = self._counter("wakeups", "Wake-ups by Realtime")
        self.polls = self._counter("polls", "Claims that brought nothing")
        self.token_refreshes = self._counter(
            "token_refreshes", "Refreshes of Google tokens", "outcome", "reason"
        )
        self.api_errors = self._counter("api_errors", "Failed calls to the API", "call", "error")

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"flowstate_worker_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"flowstate_worker_{name}", help_text, buckets=buckets, registry=self.registry
        )
