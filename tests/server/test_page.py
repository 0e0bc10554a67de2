"""The page in a real browser: what a person sees, hears and does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import portrait
from tests.server.conftest import TOKENS
from tests.server.serving import Serving

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: The words inside an element that lie on one another.
MEETING = """row => {
    const words = [...row.children].flatMap((span) => {
        const range = document.createRange();
        range.selectNodeContents(span);
        return [...range.getClientRects()].map((box) => ({ box, text: span.textContent }));
    });
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4;
    const met = (one, at) => words.slice(at + 1).some((other) => meet(one.box, other.box));
    return words.filter(met).map(({ text }) => text);
}"""

# The sync API of playwright leaves its event loop to the garbage collector.
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def server(plain: Serving) -> Serving:
    return plain


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: playwright.Browser) -> Iterator[playwright.Page]:
    """A page on a phone that looks nothing up elsewhere and complains about nothing."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Policy" in message.text else None)
    yield page
    assert wrong == []
    assert len({url.split("/")[2] for url in asked}) == 1, asked
    context.close()


def _card(page: playwright.Page, name: str) -> playwright.Locator:
    return page.locator("article", has=page.get_by_role("heading", name=name, exact=True))


def _until_done(page: playwright.Page) -> None:
    playwright.expect(page.get_by_role("progressbar")).to_have_count(0, timeout=60_000)


def test_several_files_from_choice_to_result(
    page: playwright.Page, server: Serving, clip: Path, photo: Path, tmp_path: Path
) -> None:
    notes, large = tmp_path / "<b>notes & more.txt", tmp_path / "large.mov"
    notes.write_text("no film")
    large.write_bytes(bytes(3_000_001))
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files([clip, photo, notes, large])
    _until_done(page)
    assert page.locator("article h3").all_inner_texts() == ["clip.mp4", photo.name, notes.name, "large.mov"]

    film = _card(page, "clip.mp4")
    result = server.client.get(
        film.get_by_role("link", name="Report on clip.mp4").get_attribute("href").rpartition("/")[0]
    )
    found = result.json()["result"]
    assert film.locator(".verdict").inner_text() == found["verdict"]
    assert f"{found['score']:.3f}" in film.get_by_role("img", name="on a scale").get_attribute("aria-label")
    assert film.locator(".plot .dot").count() == len(found["tracks"][0]["faces"])
    assert film.locator(".still rect").count() == 2  # a white line on a black one
    assert film.get_by_alt_text("Heat map of the face").count() == film.get_by_alt_text("Face, score").count() >= 2
    for image in film.locator("img").all():
        assert image.evaluate("image => image.complete && image.naturalWidth > 20")
        assert image.get_attribute("alt")

    assert _card(page, photo.name).locator(".plot").count() == 0
    assert "is not an image or video" in _card(page, notes.name).inner_text()
    assert "more than the" in _card(page, "large.mov").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert server.uploads == []


def test_a_picture_that_calls_itself_machine_made(
    page: playwright.Page, server: Serving, photo: Path, tmp_path: Path
) -> None:
    from tests.detection.test_provenance import sign

    (tmp_path / "signed.jpg").write_bytes(sign(photo.read_bytes())[0])
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files([tmp_path / "signed.jpg", photo])
    _until_done(page)
    shown, plain = _card(page, "signed.jpg").text_content(), _card(page, photo.name).text_content()
    for said in ("call the picture, or a part of it, machine-made. The score does", "but the file itself says that it"):
        assert said in shown
        assert said not in plain
    assert "uncertain" in shown


def test_a_name_does_not_hide_its_ending(page: playwright.Page, server: Serving, photo: Path) -> None:
    page.goto(server.url)
    file = {"name": "a\u202egpj.exe.png", "mimeType": "image/png", "buffer": photo.read_bytes()}
    page.get_by_label("Choose files").set_input_files(file)
    _until_done(page)
    assert page.locator("article h3").inner_text() == "agpj.exe.png"
    page.goto(server.url + "/" + page.get_by_role("link", name="Report on").get_attribute("href"))
    assert page.locator("h2").first.inner_text() == "agpj.exe.png"


def test_large_text_and_forced_colours(page: playwright.Page, server: Serving, photo: Path) -> None:
    page.emulate_media(forced_colors="active")
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files(photo)
    _until_done(page)
    assert page.locator(".drop .button").evaluate("button => getComputedStyle(button).borderStyle") == "solid"
    for address in ("", page.get_by_role("link", name="Report on").get_attribute("href")):
        page.goto(f"{server.url}/{address}")
        playwright.expect(page.locator(".heads").first).to_be_visible()
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for row in (".ends", ".heads"):
            assert page.locator(f"{row} >> nth=0").evaluate(MEETING) == [], address


def test_the_box_is_on_the_face(page: playwright.Page, server: Serving, photo: Path) -> None:
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files(photo)
    _until_done(page)
    still = page.locator(".still").bounding_box()
    box = page.locator(".still rect").last.bounding_box()
    middle = (box["x"] + box["width"] / 2 - still["x"]) / still["width"], (box["y"] - still["y"]) / still["height"]
    assert middle[0] == pytest.approx(112 / portrait().shape[1], abs=0.06)
    assert 0.02 < middle[1] < 0.3


def test_a_file_is_dropped(page: playwright.Page, server: Serving, photo: Path) -> None:
    page.goto(server.url)
    playwright.expect(page.locator("#work")).to_be_visible()
    data = page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
            return data;
        }""",
        list(photo.read_bytes()),
    )
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": data})
    playwright.expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    playwright.expect(page.locator("#drop")).to_have_class("drop")
    _until_done(page)
    assert _card(page, "dropped.jpg").locator(".verdict").count() == 1


def test_by_keyboard_and_ear(page: playwright.Page, server: Serving, photo: Path) -> None:
    # The browser is told early to hand choosers over: told together with the key, it may hear of the key first.
    page.on("filechooser", lambda chooser: None)
    page.goto(server.url)
    playwright.expect(page.get_by_label("Choose files")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    assert page.locator("#files + label").evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(photo)
    _until_done(page)
    playwright.expect(page.get_by_role("status")).to_contain_text(f"{photo.name}: ")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Report"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Remove {photo.name}"
    page.keyboard.press("Enter")
    playwright.expect(page.locator("article")).to_have_count(0)
    playwright.expect(page.get_by_role("status")).to_have_text(f"{photo.name} removed")
    assert page.evaluate("document.activeElement.id") == "files"


def test_what_the_server_did_not_delete_is_said(page: playwright.Page, server: Serving, photo: Path) -> None:
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files(photo)
    _until_done(page)
    page.route("**/jobs/*", lambda route: route.abort())  # as when the server is away
    page.get_by_role("button", name=f"Remove {photo.name}").click()
    playwright.expect(page.get_by_role("alert").filter(has_text=photo.name)).to_contain_text("still on the server")


def test_a_long_film_is_followed_over_a_reload_and_cancelled(
    page: playwright.Page, server: Serving, long_clip: Path
) -> None:
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files([long_clip] * 4)
    playwright.expect(page.get_by_text("Analysing, ")).to_be_visible(timeout=30_000)
    playwright.expect(page.get_by_text("before it").first).to_be_visible(timeout=30_000)
    page.reload()
    playwright.expect(page.locator("article")).to_have_count(4)
    for _ in range(4):
        page.get_by_role("button").filter(has_text="Cancel").or_(
            page.get_by_role("button").filter(has_text="Remove")
        ).first.click()
    playwright.expect(page.locator("article")).to_have_count(0)
    page.reload()
    playwright.expect(page.locator("#work")).to_be_visible()
    assert page.locator("article").count() == 0
    assert server.uploads == []


def test_a_proxy_that_does_not_reach_the_server_for_a_moment(
    page: playwright.Page, server: Serving, photo: Path
) -> None:
    refused: list[str] = []

    def refuse_once(route: playwright.Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")

    page.route("**/jobs/*", refuse_once)
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files(photo)
    playwright.expect(_card(page, photo.name).locator(".verdict")).to_be_visible(timeout=60_000)
    assert len(refused) == 1
    assert "not analysed" not in _card(page, photo.name).inner_text()


def test_a_token_is_asked_for(page: playwright.Page, locked: Serving, photo: Path) -> None:
    page.goto(locked.url)
    field = page.get_by_label("Token")
    playwright.expect(field).to_be_focused()
    assert not page.locator("#work").is_visible()
    field.fill("wrong")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#door-error")).to_have_text("This token is not known.")
    field.fill(TOKENS[0])
    page.get_by_role("button", name="Enter").click()
    playwright.expect(page.locator("#work")).to_be_visible()
    page.get_by_label("Choose files").set_input_files(photo)
    _until_done(page)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Report on").click()
    report = opened.value
    assert "1 file checked" in report.locator("h1").inner_text()
    assert report.locator("img").first.evaluate("image => image.naturalWidth") > 20
    report.close()
    page.context.clear_cookies()  # as when the session has ended
    tries: list[str] = []
    page.on("request", lambda request: tries.append(request.url) if request.method == "POST" else None)
    page.get_by_label("Choose files").set_input_files(photo)
    playwright.expect(field).to_be_focused()
    page.wait_for_timeout(500)
    assert len(tries) == 1
    field.fill(TOKENS[0])
    page.get_by_role("button", name="Enter").click()
    playwright.expect(page.locator("article .verdict")).to_have_count(2, timeout=60_000)
    page.route("**/session", lambda route: route.abort())  # as when the server is away
    page.get_by_role("button", name="Forget the token").click()
    playwright.expect(page.locator("#trouble")).to_contain_text("the token is not forgotten")
    page.unroute("**/session")
    page.get_by_role("button", name="Forget the token").click()
    playwright.expect(page.get_by_label("Token")).to_be_focused()
