"""Prompt caches: how much of what a call reads has the same model read before, by layout.

What is shared is the common beginning of two prompts of one model, each rendered as the usual chat
templates do: message by message, its role in front. Tokens are estimated.
"""

import asyncio
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import measuring

from moa_graph import Agent, create_moa
from moa_graph.prompting.tokens import count_tokens

sys.path.insert(0, str(Path(__file__).parents[1]))
from server import ChatServer  # the tests' own: it logs what it is sent

MODELS, SAMPLES, LAYERS = ("red", "green", "blue"), 2, 2
DOCUMENT, ANSWER, TURNS = 3_000, 250, 3  # words; turns of the conversation
QUICK_DOCUMENT = 1_000
LEAST, STEP = 1024, 128  # tokens that OpenAI reuses: the fewest, and in which steps
KEY = re.compile(r"(?<=response-)[0-9a-f]{16}(?= \d+>)")
ROLES = [*(f"layer {number}" for number in range(1, LAYERS + 1)), "aggregator"]

Layout = Literal["system", "user"]


@dataclass(frozen=True)
class Call:
    """A prompt as a model read it."""

    turn: int
    role: int
    """Index in `ROLES`."""
    model: str
    prompt: str

    def shares_with(self, others: Sequence["Call"]) -> int:
        """Tokens of the longest beginning that it has in common with one of the others."""
        prompts = (other.prompt for other in others if other.model == self.model)
        lengths = (_common(self.prompt, prompt) for prompt in prompts)
        return count_tokens(self.prompt[: max(lengths, default=0)])

    @property
    def tokens(self) -> int:
        return count_tokens(self.prompt)


def _common(one: str, other: str) -> int:
    """Count the characters that two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _words(seed: str, count: int) -> str:
    drawn = random.Random(seed)
    return " ".join(f"{drawn.choice('bcdfgklmnprst')}{drawn.randrange(1000)}" for _ in range(count))


def _render(messages: list[dict[str, Any]]) -> str:
    return "".join(f"<|{each['role']}|>\n{each['content']}\n" for each in messages)


async def _converse(layout: Layout, document: int) -> list[Call]:
    """Hold a conversation about a document, and log what each call read."""
    with ChatServer() as server:
        for name in (*MODELS, "writer"):
            server.model(name, reply=lambda body: _words(_render(body["messages"]), ANSWER))

        def agent(name: str, **more: Any) -> Agent:
            return Agent(model=f"openai:{name}", base_url=server.url, **more)

        layer = [agent(name, samples=SAMPLES) for name in MODELS]
        graph = create_moa([layer] * LAYERS, agent(MODELS[0]), references_in=layout).compile()
        said: list[Any] = [("system", _words("rules", 50)), ("user", _words("paper", document))]
        calls: list[Call] = []
        for turn in range(TURNS):
            said.append(("user", f"{turn}: {_words(f'question {turn}', 30)}?"))
            said = (await graph.ainvoke({"messages": said}))["messages"]
            width = len(MODELS) * SAMPLES
            for place, call in enumerate(server.calls):
                calls.append(Call(turn, place // width, call.model, _render(call.messages)))
            server.calls.clear()
        return calls


def _reused(call: Call, before: Sequence[Call]) -> int:
    """Tokens that OpenAI would have from calls that are over."""
    shared = call.shares_with(before)
    return shared // STEP * STEP if shared >= LEAST else 0


def _rows(layout: str, calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Look at the last turn: how much of it was read before."""
    last = [call for call in calls if call.turn == TURNS - 1]
    earlier = [call for call in calls if call.turn < TURNS - 1]
    rows = []
    for role, name in enumerate(ROLES):
        asked = [call for call in last if call.role == role]
        layers = [call for call in last if call.role < role]
        peers = [[other for other in asked if other is not call] for call in asked]
        rows.append(
            {
                "references in": layout,
                "call": name,
                "reads": round(mean(call.tokens for call in asked)),
                "as its layer": round(
                    mean(c.shares_with(p) for c, p in zip(asked, peers, strict=True))
                ),
                "as layers before": round(mean(call.shares_with(layers) for call in asked)),
                "as turns before": round(mean(call.shares_with(earlier) for call in asked)),
                "reused": _share(asked, [*earlier, *layers]),
            }
        )
    return [*rows, _sum(layout, last, earlier)]


def _sum(layout: str, last: Sequence[Call], earlier: Sequence[Call]) -> dict[str, Any]:
    reused = 0
    for call in last:
        reused += _reused(call, [*earlier, *(other for other in last if other.role < call.role)])
    read = sum(call.tokens for call in last)
    return {
        "references in": layout,
        "call": "the whole turn",
        "reads": read,
        "reused": f"{reused / read:.0%}",
    }


def _share(asked: Sequence[Call], before: Sequence[Call]) -> str:
    return f"{sum(_reused(c, before) for c in asked) / sum(c.tokens for c in asked):.0%}"


async def main() -> None:
    options = measuring.options(__doc__)
    document = QUICK_DOCUMENT if options.quick else DOCUMENT
    rows: list[dict[str, Any]] = []
    for layout in ("system", "user"):
        calls = await _converse(layout, document)
        rows += _rows(layout, calls)
    same_key = [replace(call, prompt=KEY.sub("0" * 16, call.prompt)) for call in calls]
    measuring.report(
        f"Turn {TURNS} of a conversation about {document:,} words: tokens of a call, and how many "
        "of them the same model had read",
        rows,
        options.json,
        reused_in_user_with_a_constant_key=_rows("user", same_key)[-1]["reused"],
    )


if __name__ == "__main__":
    asyncio.run(main())
