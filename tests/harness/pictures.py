"""Make the pictures of README and docs: `python tests/harness/pictures.py [FOLDER]`.

The real commands, a real terminal and a real browser; the models are those of `tests/server.py`,
with answers that are written here, and, for the curve, the simulated ones of `synthetic_bench.py`.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parent.parent))

from browser import chromium
from server import ChatServer
from serving import Serving, memory_store
from synthetic_bench import measure
from terminal import MOA, Terminal

from moa_graph import MoAConfig

QUESTION = "Why is the sky blue, and the sunset red?"
PROPOSALS = {
    "gpt": "Air molecules scatter short waves far more than long ones: **Rayleigh scattering**, "
    "which grows with the fourth power of the frequency. Looking up, we see scattered light.",
    "llama": "Sunlight holds all colours. Blue light is deflected about five times as often as "
    "red; it reaches us from every direction of the sky.",
    "qwen": "At noon the light's way through the air is short. In the evening it is some forty "
    "times as long, the blue is lost on the way, and the red remains.",
    "gemma": "Violet is scattered even more, but the sun sends less of it, and our eyes are less "
    "sensitive to it; so the sky looks blue.",
}
ANSWER = """The sky is blue because of **Rayleigh scattering**: air molecules scatter short waves \
far more strongly than long ones.

1. *By day* we see light that was scattered on its way. Blue (450 nm) is scattered about \
`(700/450)⁴ ≈ 5.9` times as much as red (700 nm).
2. *In the evening* the way through the air is some forty times as long. The blue is lost on it, \
and what comes through is red.

Violet is scattered more still, but the sun sends less of it and our eyes see it less well."""


def mixture(url: str) -> MoAConfig:
    """Two layers of four, one of which fails in the first and is late in the second."""

    def agent(name: str) -> dict:
        return {"model": f"openai:{name}", "base_url": url, "max_retries": 0}

    layers = [{name: agent(name) for name in PROPOSALS} for _ in range(2)]
    layers[0]["mistral"], layers[1]["mistral"] = agent("mistral-small"), agent("mistral-large")
    prices = {f"openai:{name}": (2.0, 8.0) for name in (*PROPOSALS, "writer")}
    data = {"name": "demo", "layers": layers, "aggregator": agent("writer"), "prices": prices}
    return MoAConfig.model_validate(data | {"quorum": 3, "grace": 1.0})


def behave(server: ChatServer) -> None:
    """Let the models answer, each at its own pace."""
    for place, (name, text) in enumerate(PROPOSALS.items()):
        server.model(name, reply=text, latency=0.2 + 0.2 * place, chunk_delay=0.06)
    server.model("mistral-small", always=503)
    server.model("mistral-large", latency=60)
    server.model("writer", reply=ANSWER, latency=0.4, chunk_delay=0.05)


def take_page(folder: Path, server: ChatServer, browser) -> None:
    """Ask a question in the page, and look at it while it runs and at an earlier step."""
    with Serving(mixture(server.url), store=memory_store()) as serving:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(serving.url)
        page.fill("#question", QUESTION)
        page.press("#question", "Enter")
        page.wait_for_selector('#answer-text:has-text("noon"), #answer-text li')
        page.screenshot(path=folder / "page.png")
        page.wait_for_selector("#foot")
        page.emulate_media(color_scheme="dark")
        page.locator("#strip button.at", has_text="Layer 2").click()
        page.click('#strip [data-node="layer_2_llama"]')
        page.get_by_role("button", name="Drop").click()
        page.wait_for_timeout(200)
        page.screenshot(path=folder / "page-step.png")


def take_terminal(folder: Path, server: ChatServer, browser) -> None:
    """Ask the same at a terminal, look at it while it runs, and draw and report the run."""
    with TemporaryDirectory() as place:
        config, report = Path(place) / "demo.toml", Path(place) / "run.html"
        config.write_text(toml(mixture(server.url)), encoding="utf-8")
        environment = {"MOA_DB": f"{place}/runs.sqlite", "COLORTERM": "truecolor"}
        command = [MOA, "ask", QUESTION, "--config", config, "--thread", "demo"]
        with Terminal(command, width=132, height=22, **environment) as terminal:
            terminal.wait_for("layer 2  0 of 5")
            time.sleep(2)
            shoot_terminal(terminal.screen(styles=True), folder / "terminal.png", browser)
            terminal.wait_for("exit 0")
        for words in (
            ("draw", "demo", "--out", folder / "run.svg"),
            ("report", "demo", "--out", report),
        ):
            subprocess.run([MOA, *words], env=os.environ | environment, check=True)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(report.as_uri())
        page.screenshot(path=folder / "report.png")


def take_curve(folder: Path) -> None:
    """Run a plan of `moa eval` with models whose quality is known, and take its report's plot."""
    with TemporaryDirectory() as place, chdir(place):
        measure(Path(place), questions=400)
        [plot] = Path(place).glob("out/report/*-pareto-cost.png")
        shutil.copy(plot, folder / "curve.png")


def shoot_terminal(screen: str, path: Path, browser) -> None:
    """Turn what a terminal shows into a picture."""
    console = Console(record=True, width=132, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen))
    text = console.export_html(inline_styles=True, theme=MONOKAI)
    page = browser.new_page(viewport={"width": 1120, "height": 100}, device_scale_factor=1.5)
    page.set_content(f"<style>body {{ padding: 8px; font-size: 13px }}</style>{text}")
    page.screenshot(path=path, full_page=True)


def toml(config: MoAConfig) -> str:
    """Write a configuration as TOML, whose values are those of JSON here."""
    data = config.model_dump(exclude_defaults=True, mode="json")
    tables = {"layers", "aggregator", "prices"}
    lines = [f"{key} = {json.dumps(data[key])}" for key in data if key not in tables]
    lines.append(f"layers = [{', '.join(map(inline, data['layers']))}]")
    lines += [f"{key} = {inline(data[key])}" for key in ("aggregator", "prices")]
    return "\n".join(lines) + "\n"


def inline(value) -> str:
    """Write an inline table."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return f"{{ {', '.join(f'{json.dumps(k)} = {inline(v)}' for k, v in value.items())} }}"


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "examples/pictures")
    target.mkdir(parents=True, exist_ok=True)
    with ChatServer() as running, chromium() as window:
        behave(running)
        take_page(target, running, window)
        take_terminal(target.absolute(), running, window)
    take_curve(target.absolute())
    for picture in target.glob("*.png"):
        Image.open(picture).quantize(256).save(picture, optimize=True)
    for picture in sorted(target.iterdir()):
        print(f"{picture}: {picture.stat().st_size // 1000} kB")
