"""What the service counts. Every series carries its organization, so one tenant's numbers are never another's.

Counters of business events are raised after the commit of the transaction they describe: a payment that was rolled
back was never counted.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]

PLATFORM = "platform"
"""The organization label of requests that belong to none: health checks, the platform API, wrong keys."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class Metrics:
    """The registry of one service instance."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.organizations = Gauge("searchable_organizations", "Organizations that exist", registry=self.registry)
        self.request_seconds = Histogram(
            "searchable_http_request_duration_seconds",
            "Time to answer",
            ["organization", "method", "endpoint"],
            buckets=(0.01, 0.05, 0.25, 1.0),
            registry=self.registry,
        )
        self.requests = self._counter("searchable_http_requests", "Requests answered", "method", "endpoint", "status")
        self.users = self._counter("searchable_users_registered", "Users registered")
        self.published = self._counter("searchable_published", "Searchables published", "kind")
        self.searches = self._counter("searchable_searches", "Searches answered", "found")
        self.purchases = self._counter("searchable_purchases", "Purchases paid", "kind")
        self.revenue = self._counter("searchable_revenue_cents", "Prices of paid purchases, in cents", "kind")
        self.fees = self._counter("searchable_fees_cents", "Fees kept from paid purchases, in cents")
        self.ratings = self._counter("searchable_ratings", "Ratings given", "stars")
        self.files = self._counter("searchable_files_uploaded", "Files uploaded", "media_type")
        self.invites = self._counter("searchable_invites_redeemed", "Invite codes redeemed")
        self.payments = self._counter("searchable_payments_started", "Payments handed to the network", "kind")
        self.settled = self._counter("searchable_payments_settled", "Payments that ended", "kind", "outcome")
        self.moved = self._counter("searchable_payments_cents", "Money settled, in cents", "kind")
        self.throttled = self._counter("searchable_payments_throttled", "Calls the network refused")
        self.settlement_seconds = Histogram(
            "searchable_payment_settlement_seconds",
            "From handing a payment in to knowing its end",
            ["organization"],
            buckets=(0.5, 1.0, 1.5, 2.0, 5.0),
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, ["organization", *labels], registry=self.registry)

    def forget(self, organization: str) -> None:
        """Drops the series of an organization that was deleted; otherwise they would be exposed for ever."""
        for metric in vars(self).values():
            if isinstance(metric, Counter | Histogram):
                metric.remove_by_labels({"organization": organization})

    def exposition(self) -> bytes:
        return generate_latest(self.registry)


class MeasureRequests:
    """ASGI middleware: a counter and a histogram per endpoint, named by its route and never by its path."""

    def __init__(self, app: Asgi, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, started, counted = 500, time.perf_counter(), False

        def count() -> None:
            nonlocal counted
            counted = True
            # A path that matched no route has no template: one label for all, or scanners would make endless series.
            endpoint = getattr(scope.get("route"), "path", "unmatched")
            labels = scope.get("organization", PLATFORM), scope["method"], endpoint
            self.metrics.request_seconds.labels(*labels).observe(time.perf_counter() - started)
            self.metrics.requests.labels(*labels, str(status)).inc()

        async def observing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body"):
                count()  # before it is sent: who has an answer can rely on its being counted
            await send(message)

        try:
            await self.app(scope, receive, observing)
        finally:
            if not counted:
                count()
