"""What the server answers, as types: they are its OpenAPI description."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unmask.server.jobs import Jobs
from unmask.server.store import Job as Stored
from unmask.server.store import State

Score = Annotated[float, Field(ge=0, le=1)]

_RESULT: dict[str, Any] = {
    "path": "clip.mp4",
    "verdict": "fake",
    "score": 0.934112,
    "threshold": 0.5,
    "uncertain": None,
    "kind": "video",
    "width": 1280,
    "height": 720,
    "duration": 10.0,
    "frames": 32,
    "frames_with_face": 32,
    "tracks": [
        {
            "verdict": "fake",
            "score": 0.934112,
            "counted": True,
            "reason": None,
            "quality": {"side": 244.0, "sharpness": 0.0312, "blockiness": 1.04},
            "warnings": [],
            "faces": [{"frame": 4, "time": 0.16, "box": [512.0, 130.5, 201.0, 244.0], "found": 0.9991, "score": 0.951}],
        }
    ],
    "detector": {"name": "default", "version": "1", "weights": "0a1b2c3d4e5f"},
    "warnings": [],
    "provenance": None,
    "marks": [],
    "error": None,
}
_TIMES = {"created": "2026-01-02T10:00:00Z", "started": "2026-01-02T10:00:00Z"}
_QUEUED = {"id": "Yf3kq0Jx2bN5c8TzR1uVwg", "state": "queued", "progress": 0.0, "before": 2, "name": "clip.mp4"}
_DONE: dict[str, Any] = {
    **_QUEUED,
    **_TIMES,
    "state": "done",
    "progress": 1.0,
    "before": None,
    "finished": "2026-01-02T10:00:02Z",
    "expires": "2026-01-02T11:00:02Z",
    "result": _RESULT,
    "report": "jobs/Yf3kq0Jx2bN5c8TzR1uVwg/report",
    "pictures": [
        {"href": "jobs/Yf3kq0Jx2bN5c8TzR1uVwg/pictures/0", "kind": "frame", "frame": 4, "time": 0.16}
        | {"width": 1280, "height": 720}
    ],
}


class Open(BaseModel):
    """Fields may be added."""

    model_config = ConfigDict(extra="allow")


class Face(Open):
    """One face in one frame."""

    frame: int = Field(description="Index in the stream, from 0")
    time: float = Field(description="Seconds from the start")
    box: tuple[float, float, float, float] = Field(description="x, y, width, height in pixels of its own upright frame")
    found: float = Field(description="Confidence of the face finder")
    score: Score


class Quality(Open):
    """Of the pictures of a person's face: medians."""

    side: float = Field(description="Longer side of the face, pixels")
    sharpness: float = Field(description="Fine detail as a share of all contrast")
    blockiness: float | None = Field(None, description="How far the grid of a codec stands out, about 1 without one")
    tilt: float | None = Field(None, description="By how much the face is turned in the picture judged, degrees")


class Track(Open):
    """One person followed over a video, or one face of an image."""

    verdict: Literal["real", "fake", "uncertain"] | None = Field(None, description="Null if not counted")
    score: Score
    counted: bool = Field(description="False if it is too small or too short to decide anything")
    reason: str | None = Field(None, description="Why it was not counted")
    quality: Quality | None = None
    warnings: list[str] = Field([], description="What to keep in mind about this person's score")
    faces: list[Face]


class Detector(Open):
    """Which detector spoke."""

    name: str
    version: str
    weights: str = Field(description="First 12 digits of the SHA-256 of its weights")


class Mark(Open):
    """What the metadata of a file says about a machine that made it."""

    place: str = Field(description="Where it is written, such as `XMP`")
    says: str


class Result(Open):
    """The object that `unmask detect --json` writes for one file."""

    path: str = Field(description="The name of the file, as it was sent")
    verdict: Literal["real", "fake", "uncertain", "no face"]
    score: Score | None = Field(
        None, description="Calibrated probability that a face was manipulated; null where no face counts"
    )
    threshold: Score = Field(description="From here on the verdict is `fake`")
    uncertain: tuple[float, float] | None = Field(None, description="Scores in this interval are `uncertain`")
    kind: Literal["image", "video"]
    width: int = Field(description="Pixels, upright; of a video its first analysed frame")
    height: int
    duration: float | None = Field(None, description="Seconds")
    frames: int = Field(description="Analysed frames")
    frames_with_face: int
    tracks: list[Track] = Field(description="The deciding one first")
    detector: Detector
    warnings: list[str] = Field([], description="What to keep in mind about the verdict, in plain words")
    provenance: dict[str, Any] | None = Field(None, description="Content credentials of the file")
    marks: list[Mark] = Field([], description="By which the metadata of the file calls it machine-made")
    error: None = Field(None, description="A job that failed has its own")


class Picture(Open):
    """A picture that belongs to a result: a JPEG."""

    href: str = Field(description="Relative to the root of the server")
    kind: str = Field(
        description="`frame`: the most telling one; `face`: a crop as the network saw it; `heat map`: what in it "
        "speaks for fake; `adversary`: what the adversary blurs"
    )
    frame: int | None = Field(None, description="Index in the stream")
    time: float = Field(description="Seconds from the start")
    width: int | None = Field(None, description="Of the frame itself, pixels; the picture is scaled down")
    height: int | None = None
    track: int | None = Field(None, description="Of a face: its place in `tracks`")
    score: Score | None = Field(None, description="Of a face")


class Job(BaseModel):
    """One upload and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DONE]})

    id: str = Field(description="Who knows it may see the result")
    state: State
    progress: float = Field(ge=0, le=1)
    before: int | None = Field(None, description="How many jobs wait before this one; null if it does not wait")
    name: str = Field(description="Of the file, as it was sent")
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    expires: datetime | None = Field(None, description="When the result is deleted")
    error: str | None = Field(None, description="Why there is no verdict")
    result: Result | None = None
    report: str | None = Field(None, description="A self-contained HTML page; relative to the root of the server")
    pictures: list[Picture] = []


class Limits(BaseModel):
    """What is accepted."""

    max_bytes: int
    max_pixels: int
    max_duration: float = Field(description="Seconds of a video")
    max_frames: int
    timeout: float = Field(description="Seconds a job may take")
    keep: float = Field(description="Seconds a result is kept; an upload is deleted as soon as it is judged")
    keep_at_most: int = Field(description="Results kept at a time; beyond that the oldest go before their time")


class About(BaseModel):
    """The server, its detector and its limits."""

    version: str
    detector: dict[str, Any]
    limits: Limits
    needs_token: bool


class Health(BaseModel):
    """Whether uploads are taken."""

    status: Literal["ok", "stopping"]


class ProblemBody(BaseModel):
    """Why a request was refused (RFC 9457)."""

    title: str
    status: int
    detail: str
    job: str | None = Field(None, description="Its id, if the file was taken but could not be judged")


EXAMPLE_QUEUED = _QUEUED | {"created": _TIMES["created"], "pictures": []}
EXAMPLE_DONE = _DONE


def describe(jobs: Jobs, job: Stored) -> Job:
    """A stored job as it is answered."""
    base = f"jobs/{job.id}"
    done = job.state == "done"
    pictures = [
        Picture.model_validate({"href": f"{base}/pictures/{number}", **json.loads(about)})
        for number, about in enumerate(jobs.store.pictures(job.id) if done else ())
    ]
    return Job(
        id=job.id,
        state=job.state,
        progress=jobs.progress(job),
        before=jobs.place_of(job.id),
        name=job.name,
        created=_date(job.created),
        started=None if job.started is None else _date(job.started),
        finished=None if job.finished is None else _date(job.finished),
        expires=None if job.finished is None else _date(job.finished + jobs.settings.keep),
        error=job.error,
        result=Result.model_validate_json(job.result) if job.result is not None else None,
        report=f"{base}/report" if done else None,
        pictures=pictures,
    )


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
