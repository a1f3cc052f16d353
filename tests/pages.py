"""What tests of the page do: serve, ask, and look."""

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect
from waiting import PATIENCE

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


def _address(process, log):
    while process.poll() is None:
        if found := re.search(r"(http://\S+) is a page", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def ask(page, question="why?", mixture="plain"):
    page.select_option("#mixture", mixture)
    page.fill("#question", question)
    page.press("#question", "Enter")


def cell(page, node):
    return page.locator(f'[data-node="{node}"]')


def status(page, node, wanted):
    expect(cell(page, node)).to_have_attribute("data-status", wanted)


def answered(page, text=ANSWER):
    expect(page.locator("#answer-text")).to_have_text(text)
    expect(page.locator('#steps [aria-current="step"]')).to_have_text("Answer")


def thread_of(page):
    page.wait_for_url(re.compile("#."))
    return urlsplit(page.url).fragment


def step(page, label):
    page.locator("#steps").get_by_role("button", name=label, exact=True).click()
    expect(page.locator('#steps [aria-current="step"]')).to_have_text(label)
