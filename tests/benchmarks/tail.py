"""The tail: how long runs take, and what is lost, where some calls are slow and a few stall."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import measuring
from server import draw_latency, serving

from moa_graph import Agent, create_moa
from moa_graph.runs.agent_call import call_status

RUNS, PACE = 500, 0.6  # runs of each variant, and how many of them begin in a second
QUICK_RUNS, QUICK = 2, 0.1  # and how long a second of a quick run is
QUICK_STALL = 0.1  # one call of a quick run stalls, the same each time
LATENCY = {"median": 1.0, "sigma": 0.8, "stall": 0.02, "stalled": 30.0}
WORDS, LAYERS, WIDTH = 300, 1, 6
QUESTION = "Of the many questions that people ask, this is number {0}. " * 10
PATIENT: Mapping[str, Any] = {"quorum": 4}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "wait for all": PATIENT,
    "grace 3 s": {**PATIENT, "grace": 3.0},
    "grace 1 s": {**PATIENT, "grace": 1.0},
    "grace 0 s": {**PATIENT, "grace": 0.0},
    "grace 1 s, aggregator 10 s": {**PATIENT, "grace": 1.0, "timeout": 10.0},
    "hedge 2 s": {**PATIENT, "hedge": 2.0, "hedged": "all"},
    "grace 1 s, hedge 2 s": {**PATIENT, "grace": 1.0, "hedge": 2.0, "hedged": "all"},
    "grace 1 s, aggregator's hedge 2 s": {**PATIENT, "grace": 1.0, "hedge": 2.0},
}


@dataclass
class Tally:
    """What the runs of a variant took."""

    walls: list[float] = field(default_factory=list)
    asked: int = 0
    cut_off: int = 0
    hedged: int = 0
    """Calls beside which a second request was sent."""
    paid: int = 0
    """Words read and written, as if each call were paid for in full."""
    wasted: int = 0
    """Those of calls that were cut off, or whose answer came second."""

    def take(self, wall: float, result: Mapping[str, Any]) -> None:
        self.walls.append(wall)
        read = len(result["messages"][0].text.split())
        for number in range(1, LAYERS + 1):
            layer = [p for p in result["proposals"].values() if p["layer"] == number]
            lost = sum(call_status(p["error"]) == "cut off" for p in layer)
            hedged = sum(p.get("hedged", False) for p in layer)
            self.asked += len(layer)
            self.cut_off += lost
            self.hedged += hedged
            self.paid += (len(layer) + hedged) * (read + WORDS)
            self.wasted += (lost + hedged) * (read + WORDS)
            read = len(result["messages"][0].text.split()) + (len(layer) - lost) * WORDS
        summary = result["messages"][-1].response_metadata["moa"]
        hedged = "aggregator" in summary.get("hedged", ())
        lost = len(summary.get("failed_calls", ())) or hedged
        self.hedged += hedged
        self.paid += (1 + lost) * (read + WORDS)
        self.wasted += lost * (read + WORDS)

    def row(self, name: str, second: float) -> dict[str, Any]:
        cuts = quantiles(self.walls, n=100, method="inclusive")
        p50, p95, p99 = (cuts[share - 1] / second for share in (50, 95, 99))
        return {
            "variant": name,
            "p50 s": p50,
            "p95 s": p95,
            "p99 s": p99,
            "p99 / p50": p99 / p50,
            "proposals lost": f"{self.cut_off / self.asked:.1%}",
            "calls hedged": f"{self.hedged / (self.asked + len(self.walls)):.1%}",
            "tokens thrown away": f"{self.wasted / self.paid:.1%}",
        }


def _graph(url: str, second: float, rules: Mapping[str, Any]) -> Any:
    def agent(name: str, **more: Any) -> Agent:
        return Agent(model=f"openai:{name}", base_url=url, max_retries=0, **more)

    def seconds(*names: str) -> dict[str, float]:
        return {name: rules[name] * second for name in names if name in rules}

    proposers = seconds("hedge") if "hedged" in rules else {}
    layers = [
        [agent(f"l{layer}-{n}", **proposers) for n in range(WIDTH)] for layer in range(LAYERS)
    ]
    writer = agent("writer", **seconds("timeout", "hedge"))
    others = [agent("other writer")] if "timeout" in rules else []
    options = {"quorum": rules["quorum"], "fallbacks": others, **seconds("grace")}
    return create_moa(layers, writer, **options).compile()


async def _measure(graphs: Mapping[str, Any], runs: int, second: float) -> dict[str, Tally]:
    """Begin the runs at an even pace, variant by variant, and wait for all of them."""
    tallies = {name: Tally() for name in graphs}

    async def run(name: str, number: int, delay: float) -> None:
        await asyncio.sleep(delay)
        begun = perf_counter()
        result = await graphs[name].ainvoke({"messages": QUESTION.format(number)})
        tallies[name].take(perf_counter() - begun, result)

    each = [(name, number) for number in range(runs) for name in graphs]
    pause = second / PACE / len(graphs)
    await asyncio.gather(*(run(*one, place * pause) for place, one in enumerate(each)))
    return tallies


def _critical_path(number: int, latency: Mapping[str, float]) -> float:
    """Add up what the slowest call of each layer, and the last, will take."""

    def drawn(model: str) -> float:
        question = {"role": "user", "content": QUESTION.format(number)}
        return draw_latency(latency, {"model": model, "messages": [question]})

    slowest = (max(drawn(f"l{layer}-{n}") for n in range(WIDTH)) for layer in range(LAYERS))
    return sum(slowest) + drawn("writer")


def _beyond(tallies: Mapping[str, Tally], ideal: list[float]) -> float:
    return median(tallies["wait for all"].walls) / median(ideal) - 1


async def main() -> None:
    options = measuring.options(__doc__)
    runs, second = (QUICK_RUNS, QUICK) if options.quick else (RUNS, 1.0)
    latency = {k: v * second if k in {"median", "stalled"} else v for k, v in LATENCY.items()}
    latency |= {"stall": QUICK_STALL} if options.quick else {}
    with serving({"*": {"latency": latency, "words": WORDS}}) as server:
        # Each has a path of its own: the server tells its second requests by it.
        graphs = {
            name: _graph(f"{server.url}/{number}", second, rules)
            for number, (name, rules) in enumerate(VARIANTS.items())
        }
        await asyncio.gather(*(g.ainvoke({"messages": "warm"}) for g in graphs.values()))
        server.take_counts()
        tallies = await _measure(graphs, runs, second)
        counts = server.take_counts()
    ideal = [_critical_path(number, latency) for number in range(runs)]
    measuring.report(
        f"{LAYERS} x {WIDTH} proposers and an aggregator, quorum 4; {runs} runs each",
        [tally.row(name, second) for name, tally in tallies.items()],
        options.json,
        wait_for_all_beyond_its_critical_path=f"{_beyond(tallies, ideal):.1%}",
        proposals_cut_off=sum(tally.cut_off for tally in tallies.values()),
        calls_hung_up=counts["hung_up"],
        words_that_they_would_have_brought=counts["words_lost"],
    )


if __name__ == "__main__":
    measuring.run(main())
