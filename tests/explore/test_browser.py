"""The page of `vae explore` in a real browser: headless Chromium, driven by Playwright."""

import base64
import io
import json
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from vae_simpsons import VAE
from vae_simpsons.images import denormalise

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright, which the extra [test] brings")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, and none is on this machine")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
IDLE = "body[data-open='0'] #shown[src]"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, explorer):
    """The page, opened; that it asked no other machine, and that no script failed, is checked at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda message: failed.append(message.text) if message.type in ("error", "warning") else None)
    page.goto(explorer.address)
    page.wait_for_selector(IDLE)
    yield page
    context.close()
    here = (explorer.address, f"blob:{explorer.address.split('/')[0]}", "data:image/")
    assert all(url.startswith(here) for url in asked)
    assert not [text for text in failed if "a status of 400" not in text]  # what a test has refused


@pytest.fixture
def model(run_folder) -> VAE:
    return VAE.load(run_folder / "last.ckpt")


def saved(page, button: str) -> bytes:
    """What a button saves."""
    with page.expect_download() as download:
        page.click(button)
    return download.value.path().read_bytes()


def shown(page) -> tuple[np.ndarray, list[float]]:
    """The picture of the page, uint8 (H, W, C), and its latent, when both have come."""
    page.wait_for_selector(IDLE)
    z = json.loads(saved(page, "#save-latent"))["z"]
    return np.asarray(Image.open(io.BytesIO(saved(page, "#save-picture")))).astype(int), z


def decoded(model: VAE, z: list[float]) -> np.ndarray:
    """The picture that torch makes of a latent."""
    x = model.decode(torch.tensor([z]).unflatten(1, model.network.latent_shape))
    return denormalise(x)[0].permute(1, 2, 0).numpy().astype(int)


def drop(page, name: str, kind: str, content: bytes) -> None:
    """Drops a file on the page."""
    make = """([name, type, content]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name, { type }));
        return transfer;
    }"""
    transfer = page.evaluate_handle(make, [name, kind, base64.b64encode(content).decode()])
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", event, {"dataTransfer": transfer})


def test_sliders_change_the_picture_to_what_torch_decodes(page, model):
    rows = page.locator("#slider-rows .slider")
    assert rows.count() == 8 and "nats" in rows.first.inner_text()
    before, _ = shown(page)
    dimensions = [int(rows.nth(i).locator("span").inner_text().split()[1]) for i in range(8)]
    rows.nth(0).locator("input[type=number]").fill("2.5")
    rows.nth(1).locator("input[type=range]").focus()
    page.keyboard.press("End")
    picture, z = shown(page)
    assert z[dimensions[0]] == pytest.approx(2.5) and z[dimensions[1]] == pytest.approx(3)
    assert np.abs(picture - before).max() > 1
    assert np.abs(picture - decoded(model, z)).max() <= 1
    page.click("#undo")
    page.click("#undo")
    assert np.array_equal(shown(page)[0], before)
    page.click("#centre")
    assert shown(page)[1] == [0] * 8


def test_a_dropped_picture_is_reconstructed_and_marked_on_the_map(page, model, pictures):
    path = sorted(pictures.rglob("*.png"))[5]
    before = page.locator("#chart").screenshot()
    drop(page, "disc.png", "image/png", path.read_bytes())
    page.wait_for_selector("#original:not([hidden]) >> text=Yours")
    picture, z = shown(page)
    assert np.abs(picture - np.asarray(model.reconstruct(path)).astype(int)).max() <= 1
    assert np.allclose(z, model.encode(path)[0].flatten(), atol=1e-4)
    assert page.locator("#drop").is_hidden() and page.locator("#chart").screenshot() != before
    drop(page, "letter.png", "image/png", b"Dear sir")
    page.wait_for_selector("#error:not([hidden]) >> text=picture: not an image")
    page.click("#error button")
    assert page.locator("#error").is_hidden() and np.array_equal(shown(page)[0], picture)


def test_a_saved_latent_opens_again_and_another_file_does_not(page):
    page.locator("#slider-rows input[type=number]").first.fill("-1.5")
    picture, z = shown(page)
    content = saved(page, "#save-latent")
    assert json.loads(content)["shape"] == [8]
    page.click("#centre")
    drop(page, "latent.json", "application/json", content)
    sync_api.expect(page.locator("#slider-rows input[type=number]").first).to_have_value("-1.50")
    again, same = shown(page)
    assert same == z and np.array_equal(again, picture)
    for wrong, text in ((b"{", "no latent that was saved here"), (b'{"z": [1]}', "those of this model have 8")):
        drop(page, "other.json", "application/json", wrong)
        page.wait_for_selector(f"#error:not([hidden]) >> text={text}")


def test_a_walk_is_played_and_saved(page, model):
    page.click("#pin")
    _, first = shown(page)
    page.focus("#chart")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#original >> text=Encoded")
    _, second = shown(page)
    assert first != second and page.locator("#map-said").inner_text().startswith("class_")
    page.click("#pin")
    page.wait_for_selector("#pins li >> nth=1")
    page.fill("#walk-form [name=steps]", "5")
    page.click("#walk-form [type=submit]")
    page.wait_for_selector("#film:not([hidden])")
    assert page.get_attribute("#at", "max") == "4"
    film = Image.open(io.BytesIO(saved(page, "#save-gif")))
    frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(film)]
    assert film.format == "GIF" and len(frames) == 5
    for frame, z in ((frames[0], first), (frames[-1], second)):
        assert np.abs(frame - decoded(model, z)).mean() < 3  # a GIF has 256 colours
    page.locator("#pins .off").first.click()
    assert page.locator("#save-gif").is_disabled()


def test_the_map_opens_pictures_decodes_empty_places_and_zooms(page, model):
    box = page.locator("#chart").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -500)
    about = json.loads(page.request.get(page.url + "model.json").text())
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    picture, z = shown(page)
    offset = np.array(z) - about["map"]["mean"]
    axes = np.array(about["map"]["axes"])
    assert np.allclose(axes.T @ (axes @ offset), offset, atol=1e-5)  # it is in the plane of the map
    assert np.abs(picture - decoded(model, z)).max() <= 1 and page.locator("#original").is_hidden()
    page.click("#zoom-all")
    page.focus("#chart")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#tip:not([hidden])")
    page.keyboard.press("p")
    page.wait_for_selector("#pins li")
    label = page.locator("#key button").first
    label.click()
    assert label.get_attribute("aria-pressed") == "true"


def test_draws_samples_and_adds_a_difference(page, model):
    page.fill("#draw-form [name=seed]", "3")
    page.click("#draw-form [type=submit]")
    page.wait_for_selector("#drawn li >> nth=7")
    page.locator("#drawn .view").nth(2).click()
    picture, start = shown(page)
    expected = denormalise(model.sample(3, seed=3))[2].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(picture - expected).max() <= 1
    page.select_option("[data-group=plus] select", "=class_0")
    page.select_option("[data-group=minus] select", "=class_1")
    page.wait_for_selector("#amount-slider:enabled")
    page.fill("#amount input[type=number]", "1.5")
    _, z = shown(page)
    dataset = model.open_dataset()
    mu, _ = model.encode(dataset.pack.pixels[torch.from_numpy(dataset.val)])
    names = [dataset.pack.index.classes[i] for i in dataset.val]
    plus, minus = (mu[[name == wanted for name in names]].mean(0) for wanted in ("class_0", "class_1"))
    assert np.allclose(np.array(z) - start, 1.5 * (plus - minus), atol=1e-4)
    page.click("[data-group=minus] button")
    page.wait_for_selector("[data-group=minus] li")
    assert page.locator("[data-group=minus] select").input_value() == "own"
    page.click("#nearest")
    page.wait_for_selector("#neighbour >> text=Nearest of 30 training pictures: class_")


def test_only_the_newest_slider_step_is_asked_and_the_page_says_that_it_is_busy(page):
    asked = []

    def slow(route):
        asked.append(json.loads(route.request.post_data)["z"][0])
        time.sleep(0.4)
        route.continue_()

    page.route("**/decode", slow)
    slide = """([row, count]) => {
        const range = document.querySelectorAll("#slider-rows input[type=range]")[row];
        for (let i = 1; i <= count; i++) {
            range.value = i / 10;
            range.dispatchEvent(new Event("input"));
        }
    }"""
    page.evaluate(slide, [0, 20])
    page.wait_for_selector("body[data-busy=true] #busy >> text=busy")
    _, z = shown(page)
    assert len(asked) == 2 and asked[1] == z and max(z) == pytest.approx(2.0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_fits_and_every_control_has_a_name(browser, explorer, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, has_touch=width < 500)
    page = context.new_page()
    page.goto(explorer.address)
    page.wait_for_selector(IDLE)
    nameless = """() => [...document.querySelectorAll("button, input, select, canvas[tabindex]")]
        .filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.[0]?.textContent.trim()))
        .map(e => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(253, 252, 248)"
    assert light == (scheme == "light")
    if width < 500:
        page.locator("#chart").tap(position={"x": 3, "y": 3})  # the picture stays in view
        page.wait_for_selector("#original", state="hidden")
        page.locator("#difference").scroll_into_view_if_needed()
        assert page.locator("#shown").bounding_box()["y"] >= 0
    context.close()
