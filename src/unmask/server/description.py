"""What the OpenAPI document says beside the types in :mod:`unmask.server.models`."""

from __future__ import annotations

from typing import Any

from unmask.server.models import ProblemBody
from unmask.server.problems import MEDIA_TYPE

#: The body of an upload.
FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary", "description": "image or video"}},
            }
        }
    },
}
_TOLD = {
    400: "The form is damaged or holds no file",
    401: "A token is needed",
    404: "There is no such job; its result may have been deleted",
    408: "The upload paused for too long",
    413: "The file is too large",
    415: "Not sent as a form",
    422: "The file cannot be judged, or a parameter is out of bounds",
    503: "The queue is full, or the server stops; see `Retry-After`",
    507: "No space left on the disk",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may refuse with, 401 and 422 always among it, for its ``responses``."""
    schema = ProblemBody.model_json_schema()
    return {
        status: {
            "description": _TOLD[status],
            "content": {
                MEDIA_TYPE: {
                    "schema": schema,
                    "example": {"title": _TOLD[status], "status": status, "detail": "one line for people"},
                }
            },
        }
        for status in sorted({401, 422, *statuses})
    }
