"""The routes: what is asked, and what is answered."""

# No deferred annotations here: FastAPI reads them, and a limit inside one is known only where the route is made.

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect

import unmask
from unmask.server import models, uploads
from unmask.server.description import FORM, refusals
from unmask.server.guard import REPORT, Guard, cookie_name, is_token, new_session
from unmask.server.jobs import Jobs
from unmask.server.metrics import Metrics
from unmask.server.problems import Problem, answer_with_problems
from unmask.server.settings import Settings
from unmask.server.store import Job

_Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{22}$", examples=["Yf3kq0Jx2bN5c8TzR1uVwg"])]
_FILES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "result.js": "text/javascript",
    "drawing.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
#: The guard asks for the token; this only tells the description that it does.
_TOKEN = Depends(HTTPBearer(auto_error=False))


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application; its processes start and stop with it (lifespan).

    ``app.state.jobs`` is its :class:`Jobs`; call ``hurry()`` on it before connections are waited for.
    """
    metrics = Metrics()
    jobs = Jobs(settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await jobs.start()
        try:
            yield
        finally:
            await jobs.stop()

    app = FastAPI(
        title="unmask",
        version=unmask.__version__,
        summary="Judges whether faces in images and videos are forged.",
        lifespan=lifespan,
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.jobs = jobs
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    answer_with_problems(app)
    app.include_router(_page())
    app.include_router(_service(settings, jobs, metrics))
    app.include_router(_detection(settings, jobs))
    return app


def _page() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    folder = files("unmask.server") / "page"
    index = (folder / "index.html").read_text(encoding="utf-8")
    content = {name: (folder / name).read_bytes() for name in _FILES}

    @router.head("/")
    @router.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(index)

    @router.get("/page/{name}")
    async def part(name: str) -> Response:
        if name not in content:
            raise Problem(404, "there is no such file")
        return Response(content[name], media_type=_FILES[name], headers={"Cache-Control": "no-cache"})

    return router


def _service(settings: Settings, jobs: Jobs, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", tags=["service"], responses={503: {"model": models.Health}})
    async def healthz(response: Response) -> models.Health:
        """Whether uploads are taken. Needs no token."""
        if jobs.ready:
            return models.Health(status="ok")
        response.status_code = 503
        return models.Health(status="stopping")

    @router.get(
        "/metrics",
        tags=["service"],
        dependencies=[_TOKEN],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **refusals()},
    )
    async def figures() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/about", tags=["service"], dependencies=[_TOKEN], responses=refusals())
    async def about() -> models.About:
        """The detector that judges here, and the limits."""
        limits = models.Limits.model_validate(settings, from_attributes=True)
        needs_token = bool(settings.tokens)
        return models.About(version=unmask.__version__, detector=jobs.detector, limits=limits, needs_token=needs_token)

    @router.post("/session", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        body, began = b"", time.monotonic()
        async for chunk in uploads.chunks(request, settings.idle):
            body += chunk
            if len(body) > 4096:
                raise Problem(413, "that is no token")
            if time.monotonic() - began > settings.idle:  # in all: nobody has shown a token yet
                raise Problem(408, "the token did not arrive in time", {"Connection": "close"})
        with suppress(ValueError, RecursionError):
            token = json.loads(body).get("token") if body.startswith(b"{") else None
            if isinstance(token, str) and is_token(token, settings.tokens):
                response = Response(status_code=204)
                secure = request.url.scheme == "https"
                # Without a path it counts where the page is, behind a prefix as well, and not for all of the host.
                session = cookie_name(request), new_session(token)
                response.set_cookie(*session, path=None, httponly=True, samesite="strict", secure=secure)
                return response
        raise Problem(401, "this token is not known")

    @router.delete("/session", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        response = Response(status_code=204)
        response.set_cookie(cookie_name(request), "", max_age=0, path=None, httponly=True, samesite="strict")
        return response

    return router


def _detection(settings: Settings, jobs: Jobs) -> APIRouter:
    router = APIRouter(tags=["detection"], dependencies=[_TOKEN])

    def find(id: str) -> Job:
        job = jobs.get(id)
        if job is None:
            raise Problem(404, "there is no such job; results are deleted after a while")
        return job

    @router.post(
        "/detect",
        openapi_extra={"requestBody": FORM},
        responses={
            200: {"description": "The verdict", "content": {"application/json": {"example": models.EXAMPLE_DONE}}},
            202: {
                "description": "It takes longer: ask for the job, `Location` says where",
                "model": models.Job,
                "headers": {"Location": {"schema": {"type": "string"}}},
                "content": {"application/json": {"example": models.EXAMPLE_QUEUED}},
            },
            **refusals(400, 408, 413, 415, 422, 503, 507),
        },
    )
    async def detect(
        request: Request,
        response: Response,
        frames: Annotated[int, Query(ge=1, le=settings.max_frames, description="To analyse of a video")] = 32,
        prefer: Annotated[
            str | None,
            Header(description="`wait=5`: answer with a job after 5 s; `respond-async`: at once (RFC 7240)"),
        ] = None,
    ) -> models.Job:
        """Judge one image or video.

        Answers with the verdict, or with a job if it takes longer than the server or `Prefer: wait=` says. A client
        that goes away before it has either takes its file back.
        """
        try:
            with jobs.place() as id:
                name, size = await uploads.receive(request, jobs.store.upload(id), settings.max_bytes, settings.idle)
                jobs.submit(id, name, size, frames)
        except Problem as problem:
            if problem.status != 408:
                await uploads.linger(request)
            problem.headers["Connection"] = "close"
            raise
        patience = _patience(prefer, settings.patience)
        if patience and not await _still_there(request, jobs, id, patience):
            jobs.delete(id)
            raise Problem(408, "the connection ended before the verdict was there")
        job = find(id)
        if job.state == "failed" and patience:
            raise Problem(422, job.error or "", job=id)
        response.headers["Location"] = f"jobs/{id}"
        response.status_code = 200 if job.state == "done" else 202
        return models.describe(jobs, job)

    @router.get("/jobs/{id}", responses=refusals(404))
    async def job(id: _Id) -> models.Job:
        """How far a job is, and its verdict once it is done."""
        return models.describe(jobs, find(id))

    @router.delete("/jobs/{id}", status_code=204, responses=refusals(404, 507))
    async def delete(id: _Id) -> None:
        """Stop a job if it is under way, and forget its upload, its result and that it ever was."""
        find(id)
        jobs.delete(id)

    @router.get(
        "/jobs/{id}/report",
        response_class=HTMLResponse,
        responses={200: {"content": {"text/html": {}}}, **refusals(404)},
    )
    async def report(id: _Id) -> Response:
        """The verdict as one self-contained page."""
        page = jobs.store.report(find(id).id)
        if page is None:
            raise Problem(404, "there is no report: the file has not been judged")
        return HTMLResponse(page, headers={"Content-Security-Policy": REPORT})

    @router.get(
        "/jobs/{id}/pictures/{number}",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, **refusals(404)},
    )
    async def picture(id: _Id, number: Annotated[int, Path(ge=0, le=1000)]) -> Response:
        """One of the pictures that the job lists."""
        jpeg = jobs.store.picture(find(id).id, number)
        if jpeg is None:
            raise Problem(404, "there is no such picture")
        return Response(jpeg, media_type="image/jpeg")

    return router


def _patience(prefer: str | None, most: float) -> float:
    """Seconds to wait for a verdict: what the client prefers, but not longer than the server does."""
    preferences = [each.strip().lower() for each in (prefer or "").split(",")]
    for each in preferences:
        if found := re.fullmatch(r"wait\s*=\s*\"?(\d{1,6})\"?", each):
            return min(float(found[1]), most)
    return 0.0 if "respond-async" in preferences else most


async def _still_there(request: Request, jobs: Jobs, id: str, patience: float) -> bool:
    """Wait for the end of a job, or until patience ends; False if the client is gone before."""
    ended = asyncio.create_task(jobs.ended(id))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({ended, gone}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        return ended.done() or not gone.done()
    finally:
        ended.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    with suppress(ClientDisconnect):
        while (await request.receive())["type"] != "http.disconnect":
            pass
