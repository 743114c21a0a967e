"""The live page of a real training in a real browser: it draws, follows, fits a phone, and fetches nothing from
elsewhere.

FLOWAWR_PICTURES names a folder for pictures of it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from browser import PATIENCE_S, Browser

ROOT = Path(os.environ.get("FLOWAWR_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("FLOWAWR_BUILD_DIR", ROOT / "build" / "release"))
PICTURES = os.environ.get("FLOWAWR_PICTURES")
SETTINGS = ["train.updates=1000", "evaluation.every_updates=2", "evaluation.prompts=4", "evaluation.final_prompts=8",
            "rollout.groups_per_batch=4", "rollout.samples_per_group=4"]


@pytest.fixture(scope="module")
def run():
    """The address of the page of a training that goes on."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [BUILD / "bin" / "flowawr", "run", "configs/tiny-ocr.yaml", "--run-dir", f"{folder}/tiny-ocr"]
        for setting in SETTINGS:
            command += ["--set", setting]
        with open(log, "w") as out:
            process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
        until, address = time.monotonic() + PATIENCE_S, None
        while not address and time.monotonic() < until and process.poll() is None:
            address = re.search(r"live page: (\S+)", log.read_text())
            time.sleep(0.05)
        assert address, log.read_text()
        yield address[1]
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def browser(run):
    browser = Browser()
    browser.size(1200, 900)
    browser.open(run)
    yield browser
    browser.close()


def save(browser, name):
    if PICTURES:
        browser.picture(f"{PICTURES}/{name}.png")


def test_draws_curves_pictures_and_the_fleet(browser):
    browser.wait("document.body.dataset.update >= 5")
    browser.wait("document.querySelectorAll('#c-reward path.line').length == 2")
    for chart in ("c-loss", "c-kl", "c-norm", "c-speed"):
        assert browser.value(f"document.querySelectorAll('#{chart} path.line')[0].getAttribute('d').length > 20"), chart
    assert browser.value("document.querySelectorAll('#fleet tr').length") >= 2
    assert "ocr" in browser.value("document.querySelector('#rewards').innerText")
    # Both the base model's pictures and newer ones, loaded.
    browser.wait("document.querySelectorAll('#pictures figure').length >= 8")
    browser.value("document.querySelector('#pictures').scrollIntoView()")
    browser.wait("[...document.querySelectorAll('#pictures .card:first-child img')].every(i => i.complete && "
                 "i.naturalWidth > 0)")
    browser.value("scrollTo(0, 0)")


def test_follows_the_run(browser):
    before = browser.wait("document.body.dataset.update")
    line = browser.value("document.querySelector('#c-reward path.line').getAttribute('d')")
    browser.wait(f"document.body.dataset.update > {before}")
    assert browser.value("document.querySelector('#c-reward path.line').getAttribute('d')") != line


def test_fetches_from_the_run_alone_and_complains_of_nothing(browser, run):
    assert browser.troubles() == []
    assert all(url.startswith((run, "about:", "data:")) for url in browser.requests()), browser.requests()


def test_is_small(browser, run):
    sizes = browser.value(
        "Promise.all(['', 'api/status.json', 'api/history.json', 'api/pictures.json'].map(p => fetch(p).then(a => "
        "a.arrayBuffer()).then(b => b.byteLength))).then(s => s)")
    took = browser.value("(async () => { const t = performance.now(); await (await fetch('/')).text(); await (await "
                         "fetch('api/status.json')).text(); await (await fetch('api/history.json')).text(); return "
                         "performance.now() - t })()")
    print(f"page {sizes[0]} bytes, status {sizes[1]}, history {sizes[2]}, pictures {sizes[3]}; all but pictures in "
          f"{took:.0f} ms")
    assert sum(sizes) < 200_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_fits_screen_and_phone_in_light_and_dark(browser, scheme, width):
    browser.scheme(scheme)
    browser.size(width, 900)
    browser.wait(f"innerWidth == {width} && document.querySelector('#c-reward svg').viewBox.baseVal.width < {width}")
    assert browser.value("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    red = int(re.search(r"\d+", browser.value("getComputedStyle(document.body).backgroundColor"))[0])
    assert (red < 60) == (scheme == "dark")
    save(browser, f"live-{scheme}-{width}")


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, *sys.argv[1:]]))
