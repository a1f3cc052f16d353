"""Make the README's pictures of the page: `python tests/harness/pictures.py FOLDER`.

A real server and a real browser; the models are those of `tests/server.py`, with answers that are
written here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from browser import chromium
from server import ChatServer
from serving import Serving, memory_store

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


def take(folder: Path) -> None:
    """Take the pictures."""
    with ChatServer() as server, chromium() as browser:
        behave(server)
        with Serving(mixture(server.url), store=memory_store()) as serving:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(serving.url)
            page.fill("#question", QUESTION)
            page.press("#question", "Enter")
            page.wait_for_selector('[data-node="layer_2_qwen"][data-status="running"] :text("way")')
            page.screenshot(path=folder / "page-running.png")
            page.wait_for_selector("#steps")
            page.wait_for_timeout(200)
            page.screenshot(path=folder / "page-answer.png")
            page.emulate_media(color_scheme="dark")
            page.get_by_role("button", name="Layer 2 answered").click()
            page.click('[data-node="layer_2_llama"]')
            page.get_by_role("button", name="Drop").click()
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(200)
            page.screenshot(path=folder / "page-step.png")
            narrow = browser.new_page(viewport={"width": 360, "height": 740})
            narrow.goto(page.url)
            narrow.wait_for_selector("#steps")
            narrow.screenshot(path=folder / "page-narrow.png")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    target.mkdir(parents=True, exist_ok=True)
    take(target)
    for picture in sorted(target.glob("page-*.png")):
        print(f"{picture}: {picture.stat().st_size // 1000} kB")
