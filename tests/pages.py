"""What tests of the page do: serve, ask, and look."""

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect
from serving import Serving, memory_store
from waiting import PATIENCE, wait_for

MOA = Path(sys.executable).parent / "moa"
ANSWER = "the final answer comes in many small words"
LONG = " ".join(f"word{number}" for number in range(60))

expect.set_options(timeout=PATIENCE * 1000)


def write_mixture(folder, url, name, layers, extra=""):
    names = sorted({agent for layer in layers for agent in layer} | {"w"})
    options = f'base_url = "{url}", max_retries = 0'
    agents = "".join(f'{each} = {{ model = "openai:{each}", {options} }}\n' for each in names)
    path = folder / f"{name}.toml"
    head = f'name = "{name}"\nlayers = {layers!r}\naggregator = "w"\n{extra}\n'
    path.write_text(f"{head}[agents]\n{agents}", encoding="utf-8")
    return path


@contextmanager
def serve(folder, *words, access=("--no-auth",)):
    """Run `moa serve`; give the address of its page."""
    log = folder / "log.txt"
    command = [MOA, "serve", "--port", "0", *access, "--db", folder / "runs.sqlite", *words]
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            yield _address(process, log)
            process.terminate()
            assert process.wait(PATIENCE) == 0, log.read_text()
        finally:
            process.kill()


@contextmanager
def serve_in_thread(*mixtures):
    """Serve in a thread of the test's own, with threads in memory; give the address of the page."""
    with Serving(*mixtures, store=memory_store()) as serving:
        yield serving.url


def _address(process, log):
    def find():
        return re.search(r"(http://\S+) is the page", log.read_text())

    wait_for(lambda: process.poll() is not None or find())
    address = find()
    assert address, log.read_text()
    return address[1]


def choose(page, mixture):
    """Choose who is asked."""
    page.click("#mix")
    page.locator(f'#mixes .opt:has(input[value="{mixture}"])').click()
    expect(page.locator("#mixes")).to_be_hidden()


def ask(page, question="why?", mixture="plain"):
    choose(page, mixture)
    page.fill("#question", question)
    page.press("#question", "Enter")


def cell(page, node):
    """Give the tile of a call in the strip."""
    return page.locator(f'#strip [data-node="{node}"]')


def status(page, node, wanted):
    expect(cell(page, node)).to_have_attribute("data-status", wanted)


def answered(page, text=ANSWER):
    expect(page.locator("#answer-text")).to_have_text(text)
    expect(page.locator('#strip button[aria-current="step"]')).to_have_text("Answer")


def thread_of(page):
    page.wait_for_url(re.compile("#."))
    return urlsplit(page.url).fragment


def step(page, name):
    """Go to a stop of the strip: `Question`, `Layer 1`, `Answer`."""
    page.locator("#strip button.at", has_text=name).click()
    expect(page.locator('#strip button[aria-current="step"]')).to_contain_text(name)
