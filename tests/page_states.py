"""The states that the page can be in, each reached as a person reaches it, with scripted models."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from markdown_texts import MATHEMATICS
from pages import answered, ask, cell, status, step
from playwright.sync_api import expect
from server import ChatServer

from moa_graph import MoAConfig

NAMES = ("amber", "birch", "cedar", "dune", "fjord", "grove")
QUESTION = "How do I sort a linked list, and when is merge sort worth it?"
PROPOSAL = """## Merge sort

Merge sort suits a linked list: it walks the list from front to back and needs no random access.

- Split the list in the middle with a slow and a fast pointer.
- For lists of less than `16` nodes use insertion sort."""
ANSWER = """## Use merge sort

Merge sort suits a linked list: it walks the list from front to back and needs no random access.

1. Split the list in the middle with a slow and a fast pointer.
2. Sort both halves, and merge them: take the smaller head and move on.

```python
def merge(a, b):
    head = tail = Node(None)  # a line that is longer than a phone is wide, so that it has to scroll
    while a and b:
        tail.next, a = a, a.next
    return head.next
```

### Which one, when

| Method | Time | Extra memory | Stable | Worth it when |
|---|---|---|---|---|
| Merge sort | $n \\log n$ | $\\log n$ | yes | the list has more than about fifty nodes |
| Insertion sort | $n^2$ | none | yes | it is short or nearly sorted already |

It needs at most $n \\log n$ comparisons. More in [Notes on sorting](https://example.org/notes)."""
ANALYSIS = json.dumps(
    {
        "consensus": ["Merge sort is the method of choice."],
        "contradictions": [
            {
                "issue": "Is copying to an array faster?",
                "positions": [
                    {"stance": "Often, in practice.", "responses": ["2"]},
                    {"stance": "It doubles the memory.", "responses": ["1", "3"]},
                ],
            }
        ],
        "unique": [{"point": "It is stable.", "response": "4"}],
        "blind_spots": ["Doubly linked lists"],
    }
)
WRITTEN = "\n".join(f"Line {number} of a longer answer.\n" for number in range(40))


def mixtures(url: str) -> list[MoAConfig]:
    """Make the mixtures that are served."""
    house = [NAMES, NAMES]
    return [
        _mixture(url, "house", house),
        _mixture(url, "wide", [[f"m{number}" for number in range(1, 9)]] * 3),
        _mixture(url, "early", house, early_stop=0.9),
        _mixture(url, "hasty", house, grace=0.2, quorum=3),
        _mixture(url, "strict", house, quorum=3),
        _mixture(url, "judged", [NAMES], analysis=_agent(url, "analyst")),
        _mixture(url, "safe", [NAMES], fallbacks=[_agent(url, "m1")], hedged="amber"),
    ]


def _mixture(url: str, name: str, layers: Any, *, hedged: str = "", **options: Any) -> MoAConfig:
    agents = [{each: _agent(url, each) for each in layer} for layer in layers]
    for layer in agents:
        if hedged:
            layer[hedged]["hedge"] = 0.05
    models = {each for layer in layers for each in layer} | {"w"}
    prices = {f"openai:{each}": (2.0, 8.0) for each in models}
    data = {"name": name, "layers": agents, "aggregator": _agent(url, "w"), "prices": prices}
    return MoAConfig.model_validate(data | options)


def _agent(url: str, model: str) -> dict[str, Any]:
    return {"model": f"openai:{model}", "base_url": url, "max_retries": 0}


def behave(models: ChatServer) -> None:
    """Let all models answer, each with words of its own."""
    models.calls.clear()
    models.models.clear()
    for number, name in enumerate((*NAMES, *(f"m{each}" for each in range(1, 9)))):
        models.model(name, reply=f"{PROPOSAL}\n\nSo says {name}.", latency=0.01 * number)
    models.model("w", reply=ANSWER)
    models.model("analyst", reply=ANALYSIS)


@dataclass
class Scene:
    """A page, the models behind it, and what holds these back until the test has seen enough."""

    page: Any
    models: ChatServer
    seen: Event = field(default_factory=Event)
    closing: ExitStack = field(default_factory=ExitStack)
    """What is to be done when the state was seen."""

    def hold(self, *names: str) -> None:
        """Let models wait before they answer."""
        for name in names:
            self.models.model(name, reply=PROPOSAL, until=self.seen.is_set)

    def ask(self, mixture: str = "house") -> None:
        """Ask the question."""
        ask(self.page, QUESTION, mixture)

    def answer(self, mixture: str = "house") -> None:
        """Ask the question, and wait for the answer."""
        self.ask(mixture)
        expect(self.page.locator("#foot")).to_be_visible()


def shows(page: Any, **words: str) -> None:
    """Expect tiles to show states, by node."""
    for node, word in words.items():
        expect(cell(page, node)).to_have_attribute("data-state", word)


State = Callable[[Scene], None]
STATES: dict[str, State] = {}


def state(name: str) -> Callable[[State], State]:
    """Register a state."""

    def register(reach: State) -> State:
        STATES[name] = reach
        return reach

    return register


@state("empty")
def _(scene: Scene) -> None:
    expect(scene.page.locator("#welcome")).to_be_visible()


@state("picker")
def _(scene: Scene) -> None:
    scene.page.click("#mix")
    expect(scene.page.locator("#mixes")).to_be_visible()


@state("attachments")
def _(scene: Scene) -> None:
    files = [("notes.txt", "text"), ("list.py", "x = 1")]
    scene.page.set_input_files(
        "#file", [{"name": n, "mimeType": "text/plain", "buffer": t.encode()} for n, t in files]
    )
    expect(scene.page.locator("#files li")).to_have_count(2)


@state("layer 1")
def _(scene: Scene) -> None:
    scene.hold("cedar", "fjord")
    scene.ask()
    for name in ("amber", "birch", "dune", "grove"):
        status(scene.page, f"layer_1_{name}", "answered")


@state("aggregator")
def _(scene: Scene) -> None:
    scene.models.model("w", reply=ANSWER, until_token=lambda at: at < 40 or scene.seen.is_set())
    scene.ask()
    expect(scene.page.locator("#answer-text ol")).to_be_visible()


@state("answered")
def _(scene: Scene) -> None:
    scene.answer()


@state("second turn")
def _(scene: Scene) -> None:
    scene.answer()
    scene.models.model("w", reply="A second answer.")
    scene.page.fill("#question", "And an array?")
    scene.page.press("#question", "Enter")
    expect(scene.page.locator("#answer-text")).to_have_text("A second answer.")
    expect(scene.page.locator("#foot")).to_be_visible()


@state("proposal")
def _(scene: Scene) -> None:
    scene.answer()
    cell(scene.page, "layer_2_cedar").click()
    expect(scene.page.locator("#side .text")).to_contain_text("So says cedar.")
    expect(scene.page.locator("#side .seg")).to_be_visible()


@state("proposal since the layer before")
def _(scene: Scene) -> None:
    def reply(body: dict[str, Any]) -> str:
        return f"{PROPOSAL} The others agree." if "agree" in json.dumps(body) else PROPOSAL

    scene.models.model("cedar", reply=reply)
    scene.answer()
    cell(scene.page, "layer_2_cedar").click()
    scene.page.locator('[data-mode="since"]').click()
    expect(scene.page.locator("#side")).to_contain_text("Underlined: new.")


@state("proposal that failed")
def _(scene: Scene) -> None:
    scene.models.model("dune", always=503)
    scene.answer()
    cell(scene.page, "layer_2_dune").click()
    expect(scene.page.locator("#side .box")).to_contain_text("went on without it")


@state("early stop")
def _(scene: Scene) -> None:
    for name in NAMES:
        scene.models.model(name, reply=PROPOSAL)
    scene.answer("early")
    status(scene.page, "layer_2_amber", "skipped")


@state("degraded")
def _(scene: Scene) -> None:
    scene.models.model("dune", always=503)
    scene.models.model("fjord", reply=PROPOSAL, until=scene.seen.is_set)
    scene.models.model("w", reply=ANSWER, finish_reason="length")
    scene.answer("hasty")


@state("failed aggregator")
def _(scene: Scene) -> None:
    scene.models.model("w", always=503)
    scene.ask()
    expect(scene.page.locator("#banner .bad")).to_contain_text("The aggregator failed")
    expect(scene.page.locator("#resume-too")).to_be_visible()
    scene.page.get_by_text("Another aggregator…").press("Enter")
    expect(scene.page.get_by_role("button", name="openai:amber")).to_be_visible()


@state("quorum lost")
def _(scene: Scene) -> None:
    for name in NAMES[:4]:
        scene.models.model(name, reply=PROPOSAL, faults=[None, 503])
    scene.ask("strict")
    expect(scene.page.get_by_role("button", name="Go on with 2")).to_be_visible()
    expect(scene.page.locator("#resume-too")).to_be_visible()


@state("stopped")
def _(scene: Scene) -> None:
    scene.hold("cedar")
    scene.ask()
    status(scene.page, "layer_1_grove", "answered")
    scene.page.click("#stop")
    expect(scene.page.locator("#resume-too")).to_be_visible()
    shows(scene.page, layer_1_cedar="stopped", layer_2_cedar="waiting")


@state("stopped within the answer")
def _(scene: Scene) -> None:
    STATES["aggregator"](scene)
    scene.page.click("#stop")
    expect(scene.page.locator("#answer .ending")).to_contain_text("Stopped here.")
    expect(scene.page.locator("#resume-too")).to_be_visible()
    expect(scene.page.locator("#answer-text ol")).to_be_visible()
    shows(scene.page, aggregator="cut off")


@state("asked again after a failure")
def _(scene: Scene) -> None:
    for name in NAMES[:4]:
        scene.models.model(name, faults=[503])
    scene.ask("strict")
    expect(scene.page.locator("#banner .bad")).to_be_visible()
    scene.hold(*NAMES[:4])
    scene.page.click("#resume")
    shows(scene.page, layer_1_amber="retrying", layer_1_fjord="reused")


@state("hedged, and by a fallback")
def _(scene: Scene) -> None:
    scene.models.model("amber", reply=PROPOSAL, faults=["hang"])
    scene.models.model("w", always=503)
    scene.models.model("m1", reply=ANSWER)
    scene.answer("safe")
    shows(scene.page, layer_1_amber="hedged", aggregator="fallback")


@state("cached")
def _(scene: Scene) -> None:
    set_llm_cache(InMemoryCache())
    scene.closing.callback(set_llm_cache, None)
    scene.answer()
    scene.page.click("#new")
    scene.answer()
    shows(scene.page, layer_1_amber="cached", aggregator="cached")


@state("changes that are not sent yet")
def _(scene: Scene) -> None:
    scene.answer()
    step(scene.page, "Layer 2")
    side = scene.page.locator("#side")
    for node, action in (("fjord", "Drop"), ("dune", "Ask again"), ("cedar", "Edit")):
        cell(scene.page, f"layer_2_{node}").click()
        side.get_by_role("button", name=action, exact=True).click()
    scene.page.fill("#edit", "Merge sort, from the bottom up; it needs no stack.")
    side.get_by_role("button", name="Keep", exact=True).click()
    changed = {"fjord": "dropped", "dune": "asked again", "cedar": "edited"}
    shows(scene.page, **{f"layer_2_{name}": word for name, word in changed.items()})


@state("earlier step")
def _(scene: Scene) -> None:
    scene.answer()
    step(scene.page, "Layer 1")
    cell(scene.page, "layer_1_fjord").click()
    scene.page.locator("#side").get_by_role("button", name="Drop").click()
    cell(scene.page, "layer_1_cedar").click()
    scene.page.locator("#side").get_by_role("button", name="Edit").click()
    scene.page.fill("#edit", "Merge sort, from the bottom up; it needs no stack.")


@state("agreement")
def _(scene: Scene) -> None:
    scene.answer()
    scene.page.locator("#foot").get_by_role("button", name="Agreement").click()
    expect(scene.page.locator("#side")).to_be_visible()


@state("analysis")
def _(scene: Scene) -> None:
    scene.answer("judged")
    scene.page.locator("#foot").get_by_role("button", name="Agreement").click()
    expect(scene.page.locator("#side")).to_contain_text("Said by one only")


@state("cost")
def _(scene: Scene) -> None:
    scene.answer()
    scene.page.locator("#foot").get_by_role("button", name="Cost").click()
    expect(scene.page.locator("#side table").first).to_be_visible()


@state("influence")
def _(scene: Scene) -> None:
    scene.answer()
    scene.page.locator("#foot").get_by_role("button", name="influence").click()
    expect(scene.page.locator("#answer-text mark.on").first).to_be_visible()


@state("mathematics")
def _(scene: Scene) -> None:
    scene.models.model("cedar", reply=MATHEMATICS)
    scene.models.model("w", reply=f"{MATHEMATICS} That is all.")
    scene.answer()
    scene.page.locator("#foot").get_by_role("button", name="influence").click()
    expect(scene.page.locator("#answer-text mark.on math").first).to_be_visible()


@state("picture")
def _(scene: Scene) -> None:
    scene.answer()
    scene.page.click("#more")
    expect(scene.page.locator("#picture .legend")).to_be_visible()


@state("picture of an early stop")
def _(scene: Scene) -> None:
    STATES["early stop"](scene)
    scene.page.click("#more")
    expect(scene.page.locator("#picture .why")).to_be_visible()


@state("wide")
def _(scene: Scene) -> None:
    scene.answer("wide")


@state("thread menu")
def _(scene: Scene) -> None:
    scene.answer()
    scene.page.locator("#list li.on .more").click()
    expect(scene.page.locator(".pop")).to_be_visible()


@state("deleting a thread")
def _(scene: Scene) -> None:
    STATES["thread menu"](scene)
    scene.page.get_by_role("button", name="Delete…").click()
    expect(scene.page.locator(".pop p")).to_be_visible()


@state("no model")
def _(scene: Scene) -> None:
    offline = {"asked": 1, "needed": 1, "agents": [{"name": "lead", "model": "offline:lead"}]}
    mixture = {"name": "offline", "layers": [offline], "aggregator": "offline:consensus"}
    answer = {"mixtures": [mixture]}
    scene.page.route("**/api/mixtures", lambda route: route.fulfill(json=answer))
    scene.page.reload()
    expect(scene.page.locator("#welcome")).to_contain_text("No model is set up yet")


@state("key asked for")
def _(scene: Scene) -> None:
    scene.page.route("**/api/mixtures", lambda route: route.fulfill(status=401, json={}))
    scene.page.reload()
    expect(scene.page.locator("#key-dialog")).to_be_visible()


__all__ = ["ANSWER", "STATES", "WRITTEN", "Scene", "answered", "behave", "mixtures"]
