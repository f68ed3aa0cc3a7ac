"""The application: `python -m uvicorn searchable.app:app`, configured as config.py says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from searchable import (
    downloads,
    files,
    invites,
    invoices,
    organizations,
    payments,
    purchases,
    ratings,
    search,
    searchables,
    social,
    tags,
    users,
    wallet,
)
from searchable.config import Settings
from searchable.database import Json
from searchable.errors import install_handlers
from searchable.metrics import MeasureRequests
from searchable.services import Services

FEATURES = (
    organizations,
    users,
    social,
    tags,
    invites,
    files,
    payments,
    wallet,
    searchables,
    search,
    purchases,
    downloads,
    invoices,
    ratings,
)


def create_app(settings: Settings) -> FastAPI:
    """Builds the service; the database is first spoken to when it starts."""
    services = Services(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(services.open)
        yield
        await run_in_threadpool(services.close)

    app = FastAPI(title="Searchable", lifespan=lifespan)
    app.state.services = services
    app.add_middleware(MeasureRequests, metrics=services.metrics)
    install_handlers(app)
    for feature in FEATURES:
        app.include_router(feature.router)
    app.add_api_route("/health", health)
    app.add_api_route("/metrics", metrics)
    return app


def health(request: Request) -> Json:
    """200 only when the database answers as well; errors.py turns its silence into a 503."""
    request.app.state.services.database.ping()
    return {"status": "ok"}


def metrics(request: Request) -> Response:
    return Response(request.app.state.services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


app = create_app(Settings.from_environment())
