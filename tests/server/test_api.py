"""What is asked and what is answered: a real server, real files."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import unmask
from tests.server.conftest import TOKENS
from tests.server.serving import Serving, until
from unmask.server import models

TOKEN = TOKENS[1]


@pytest.fixture
def server(plain: Serving) -> Serving:
    return plain


def test_an_image_is_answered_at_once(server: Serving, photo: Path, light: Path) -> None:
    answer = server.send(photo)
    assert answer.status_code == 200
    job = answer.json()
    assert (job["state"], job["progress"], job["name"], job["error"]) == ("done", 1, "a secret name.jpg", None)
    expected = unmask.load_detector(light).detect(photo).to_json()
    detector = expected["detector"] | {"name": "light"}  # and not the folders above it
    assert job["result"] == json.loads(json.dumps(expected | {"path": "a secret name.jpg", "detector": detector}))
    assert server.client.get(answer.headers["location"]).json() == job
    assert server.uploads == []


def test_a_job_tells_how_far_it_is(server: Serving, long_clip: Path) -> None:
    answer = server.send(long_clip, {"frames": 96}, headers={"Prefer": "respond-async"})
    assert (answer.status_code, answer.json()["state"] in ("queued", "running")) == (202, True)
    seen = []
    job = answer.json()
    while job["finished"] is None:
        job = server.client.get(answer.headers["location"]).json()
        seen.append(job["progress"])
        time.sleep(0.02)
    assert (job["state"], job["result"]["frames"], job["result"]["kind"]) == ("done", 96, "video")
    assert seen == sorted(seen)
    assert len({share for share in seen if 0 < share < 1}) >= 3
    assert server.uploads == []


def test_patience_is_the_clients_choice(server: Serving, photo: Path) -> None:
    with server.held():
        answer = server.send(photo, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    assert server.client.delete(answer.headers["location"]).status_code == 204


def test_the_report_and_the_pictures_of_a_result(server: Serving, clip: Path) -> None:
    job = server.send(clip).json()
    report = server.client.get(job["report"])
    assert "1 file checked" in report.text
    assert "clip.mp4" in report.text
    assert str(server.folder) not in report.text
    assert "sandbox" in report.headers["content-security-policy"]
    assert "script-src" not in report.headers["content-security-policy"]
    kinds = [picture["kind"] for picture in job["pictures"]]
    assert kinds[0] == "frame"
    assert kinds.count("face") == kinds.count("heat map") >= 2
    for picture in job["pictures"]:
        assert server.client.get(picture["href"]).content.startswith(b"\xff\xd8")
    assert server.client.get(f"jobs/{job['id']}/pictures/{len(kinds)}").status_code == 404
    box = next(each for each in job["result"]["tracks"][0]["faces"] if each["frame"] == job["pictures"][0]["frame"])
    assert box["score"] == max(each["score"] for each in job["result"]["tracks"][0]["faces"])


def test_what_is_deleted_is_gone(server: Serving, photo: Path) -> None:
    job = server.send(photo).json()
    where = f"jobs/{job['id']}"
    assert server.client.delete(where).status_code == 204
    for path in (where, f"{where}/report", f"{where}/pictures/0"):
        answer = server.client.get(path)
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    assert server.client.delete(where).status_code == 404


def test_a_running_job_is_stopped(server: Serving, photo: Path) -> None:
    with server.held():
        first, second = server.send_later(photo), server.send_later(photo)
        server.wait(first, "running")
        replaced = server.figure("unmask_worker_replacements_total")
        assert server.client.get(f"/jobs/{second}").json()["before"] == 0
        assert server.client.delete(f"/jobs/{second}").status_code == 204
        assert server.client.delete(f"/jobs/{first}").status_code == 204
        assert server.uploads == []
        assert server.send(photo).status_code == 200
    assert server.uploads == []
    assert server.figure("unmask_worker_replacements_total") == replaced + 1


def test_a_client_that_goes_away_takes_its_file_back(server: Serving, photo: Path) -> None:
    deleted = 'unmask_jobs_total{outcome="deleted"}'
    before = server.figure(deleted)
    with server.held():
        with photo.open("rb") as file, pytest.raises(httpx.ReadTimeout):
            server.client.post("/detect", files={"file": file}, timeout=httpx.Timeout(60, read=0.3))
        until(lambda: server.figure(deleted) == before + 1)
    assert server.uploads == []


def test_metrics_count(server: Serving, photo: Path) -> None:
    verdict = server.send(photo).json()["result"]["verdict"]
    before = server.figure(f'unmask_jobs_total{{outcome="{verdict}"}}'), server.figure("unmask_upload_bytes_total")
    server.send(photo)
    assert server.figure(f'unmask_jobs_total{{outcome="{verdict}"}}') == before[0] + 1
    assert server.figure("unmask_upload_bytes_total") == before[1] + photo.stat().st_size
    assert server.figure("unmask_jobs_queued") == server.figure("unmask_jobs_running") == 0
    assert server.figure('unmask_http_requests_total{method="GET",route="/metrics",status="200"}') > 3
    assert server.client.get("/metrics").text.count("secret") == 0


def test_about_and_health(server: Serving) -> None:
    assert server.client.get("/healthz").json() == {"status": "ok"}
    assert [server.client.head(path).status_code for path in ("/healthz", "/")] == [200, 200]
    about = server.client.get("/about").json()
    assert (about["limits"]["max_bytes"], about["limits"]["keep"], about["needs_token"]) == (3_000_000, 900, False)
    assert (about["detector"]["name"], about["detector"]["version"]) == ("light", "7")


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/jobs/AAAAAAAAAAAAAAAAAAAAAA", "DELETE, GET"), ("/detect", "POST"), ("/session", "DELETE, POST")],
)
def test_a_refused_method_names_those_there_are(server: Serving, path: str, methods: str) -> None:
    answer = server.client.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_the_description_tells_the_truth(server: Serving, photo: Path) -> None:
    described = server.client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/about", "/detect", "/healthz", "/jobs/{id}", "/jobs/{id}/pictures/{number}", "/jobs/{id}/report", "/metrics",
    }  # fmt: skip
    detect = described["paths"]["/detect"]["post"]
    assert set(detect["responses"]) >= {"200", "202", "400", "401", "408", "413", "415", "422", "503", "507"}
    assert detect["requestBody"]["content"]["multipart/form-data"]["schema"]["required"] == ["file"]
    open_to_all = [
        path for path, methods in described["paths"].items() if "security" not in next(iter(methods.values()))
    ]
    assert open_to_all == ["/healthz"]
    assert "401" in described["paths"]["/metrics"]["get"]["responses"]
    assert "507" in described["paths"]["/jobs/{id}"]["delete"]["responses"]
    for code in ("200", "202"):
        models.Job.model_validate(detect["responses"][code]["content"]["application/json"]["example"])
    models.ProblemBody.model_validate(detect["responses"]["413"]["content"]["application/problem+json"]["example"])
    assert "HTTPValidationError" not in json.dumps(described["paths"])
    schemas = described["components"]["schemas"]
    job = server.send(photo).json()
    _all_described(job, schemas["Job"], schemas)
    _all_described(server.client.get("/about").json(), schemas["About"], schemas)
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)):
        assert reference in described["components"]["schemas"]


def _all_described(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """No field that the description does not have, however deep."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        _all_described(value, next(each for each in schema["anyOf"] if each.get("type") != "null"), schemas)
    elif isinstance(value, list) and "items" in schema:
        for each in value:
            _all_described(each, schema["items"], schemas)
    elif isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"]), schema["title"]
        for name, each in value.items():
            _all_described(each, schema["properties"][name], schemas)


@pytest.mark.parametrize("path", ["/", "/healthz", "/about", "/page/page.js", "/nothing", "/jobs/none"])
def test_every_answer_is_strict_with_browsers(server: Serving, path: str) -> None:
    headers = server.client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert "server" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_other_sites_are_kept_out(server: Serving, photo: Path, headers: dict[str, str], status: int) -> None:
    assert server.send(photo, headers=headers).status_code == status


def test_frames_have_a_bound(server: Serving, photo: Path) -> None:
    for frames in (0, 257, "many"):
        answer = server.send(photo, {"frames": frames})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert "frames" in answer.json()["detail"]


def test_a_token_opens_the_door(locked: Serving, photo: Path) -> None:
    server, client = locked, locked.client
    for path in ("/about", "/metrics", "/jobs/AAAAAAAAAAAAAAAAAAAAAA", "/jobs/AAAAAAAAAAAAAAAAAAAAAA/report"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="unmask"')
    assert [client.get(path).status_code for path in ("/", "/healthz", "/page/page.css")] == [200] * 3
    assert server.send(photo).status_code == 401
    for wrong in ("Bearer wrong", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"):
        assert client.get("/about", headers={"Authorization": wrong}).status_code == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert server.send(photo, headers=bearer).status_code == 200

    assert client.post("/session", json={"token": "wrong"}).status_code == 401
    assert client.post("/session", content=b"[" * 1000).status_code == 401
    assert client.post("/session", content=b'{"token":' + b"[" * 4000).status_code == 401
    assert client.post("/session", content=b"{" * 5000).status_code == 413
    assert client.post("/session", json={"token": TOKEN}, headers={"Origin": "http://evil.example"}).status_code == 403
    signed = client.post("/session", json={"token": TOKEN})
    cookie = signed.headers["set-cookie"]
    assert signed.status_code == 204
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert "path=" not in cookie.lower()  # behind a prefix it is for what is below, not for the whole host
    assert client.get("/about").json()["needs_token"] is True
    assert client.delete("/session").status_code == 204
    assert client.get("/about").status_code == 401
    assert TOKEN not in server.log
