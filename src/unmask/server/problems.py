"""Every refusal has one shape: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request is refused.

    Args:
        status: of HTTP.
        detail: one line for the person who sent it.
        headers: of the answer.
        job: its id, if there is one.
    """

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, job: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.job = status, detail, dict(headers or {}), job

    def response(self) -> JSONResponse:
        body: dict[str, object] = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.job is not None:
            body["job"] = self.job
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)


def answer_with_problems(app: FastAPI) -> None:
    """Give the framework's own errors the same shape."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        headers = error.headers
        if error.status_code == 405:  # the framework names the methods of one route, and a path may have several

            def allows(method: str) -> bool:
                scope = {**request.scope, "method": method}
                return any(route.matches(scope)[0] is Match.FULL for route in app.routes)

            headers = {"Allow": ", ".join(filter(allows, ("DELETE", "GET", "HEAD", "POST")))}
        return Problem(error.status_code, str(error.detail), headers).response()

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in error.errors())
        return Problem(422, told).response()
