"""Every refusal of the service is an ApiError; the body is always {"error": {"code", "message"}}.

`code` is for programs and never changes; `message` is for people and may.
"""

import logging
import math

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

log = logging.getLogger("searchable")


class ApiError(Exception):
    """A refusal with an HTTP status; raised inside a transaction it also rolls that back."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    def response(self) -> JSONResponse:
        # Retry-After counts whole seconds (RFC 9110, 10.2.3): rounded up, or the client would come too early.
        headers = None if self.retry_after is None else {"Retry-After": str(math.ceil(self.retry_after))}
        body = {"error": {"code": self.code, "message": self.message}}
        return JSONResponse(body, status_code=self.status, headers=headers)


def not_found(what: str) -> ApiError:
    """For things that do not exist, and for things whose existence is none of the caller's business."""
    return ApiError(404, f"{what}_not_found", f"there is no such {what}")


def install_handlers(app: FastAPI) -> None:
    """Makes each way a request can go wrong answer in the one format."""

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        details = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        return ApiError(422, "invalid", "; ".join(details)).response()

    @app.exception_handler(HTTPException)
    async def unrouted(_: Request, error: HTTPException) -> JSONResponse:
        return ApiError(error.status_code, "http_error", str(error.detail)).response()

    @app.exception_handler(psycopg.Error)
    async def database(_: Request, error: psycopg.Error) -> JSONResponse:
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
            return ApiError(401, "organization_gone", "the organization was deleted meanwhile").response()
        if isinstance(error, psycopg.DataError):
            return ApiError(422, "invalid", str(error).splitlines()[0]).response()
        if isinstance(error, psycopg.OperationalError | PoolTimeout):
            return ApiError(503, "database_unavailable", "the database does not answer").response()
        log.exception("unexpected database error", exc_info=error)
        return ApiError(500, "internal", "unexpected database error").response()
