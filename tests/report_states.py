"""Reports of runs that ended in every way: each a page, by the name of what it shows.

The mixtures are real, their models are not. Seconds and tokens, which fakes do not have, are put
into the state that a run left.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from fakes import FakeModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from markdown_texts import MATHEMATICS

from moa_graph import MoAState, Router, create_moa, report
from moa_graph.runs.record import AGGREGATOR_FAILURE

NAMES = ("amber", "birch", "cedar", "dune", "fjord", "grove", "heath", "islet")
QUESTION = "How do I sort a linked list, and when is merge sort worth it?"
CODE = """```python
def merge(a, b):
    head = tail = Node(None)
    while a and b:
        if a.value <= b.value:  # <= keeps equal keys in their order, which callers rely on
            tail.next, a = a, a.next
```"""
SHARED = (
    "Merge sort suits a linked list: it walks the list from front to back and needs no random "
    "access. "
)
SPLIT = "Split the list in the middle with a slow and a fast pointer. "
ARRAY = "Copying to an array is often faster in practice, because nodes lie scattered in memory. "
TABLE = """
| Method | Time | Memory | Worth it when |
| --- | --- | --- | --- |
| Merge sort | $n \\log n$ | $\\log n$ | more than about 50 nodes |
| Insertion sort | $n^2$ | none | short or nearly sorted |
"""
ANSWER = f"""# Use merge sort

{SHARED}It is stable, so equal keys keep their order.

1. {SPLIT}
2. Sort both halves, then merge them: take the smaller head and move on.

{CODE}

### Which one, when

{TABLE}

{ARRAY}More in [Notes](https://example.org/sorting-lists).
"""
PROPOSALS = {
    "amber": f"{SHARED}It needs no extra memory.\n\n1. {SPLIT}\n\n{CODE}",
    "birch": f"{ARRAY}Otherwise use merge sort. **It is stable, so equal keys keep their order.**",
    "cedar": f"## In short\n\n{SHARED}\n\n- {SPLIT}\n- Below `16` nodes insert.\n{TABLE}",
    "dune": "Merge sort is stable.",
    "fjord": "Sorting a linked list can be done in many ways. The one that is taught first",
    "grove": f"{ARRAY}For very long lists use merge sort.\n\n- {SPLIT}",
    "heath": f"{SPLIT}Then merge.",
    "islet": "استخدم فرز الدمج للقوائم المتصلة.",
}
CONFIG = {"configurable": {"thread_id": "lists"}}
PRICES = {f"local:{name}": (0.5, 1.5) for name in (*NAMES, "writer")}


def model(name: str, *answers: Any) -> FakeModel:
    """Make a model, which is called as one of a provider."""
    return FakeModel(name=f"local:{name}", answers=list(answers or [PROPOSALS.get(name, ANSWER)]))


def layer(width: int = 6, **others: FakeModel) -> dict[str, FakeModel]:
    """Make a layer of so many proposers."""
    return {name: others.get(name, model(name)) for name in NAMES[:width]}


def finish(state: Mapping[str, Any], **fates: Mapping[str, Any]) -> dict[str, Any]:
    """Give proposals seconds, tokens and what became of them, by node."""
    started = 1_795_630_000.0
    proposals, last = {}, started
    for number in sorted({each["layer"] for each in state["proposals"].values()}):
        of_layer = [(n, p) for n, p in state["proposals"].items() if p["layer"] == number]
        begun = last
        for place, (node, proposal) in enumerate(of_layer):
            seconds = 2.0 + 0.9 * ((place * 5 + number) % 6)
            usage = usage_of(60 if number == 1 else 1620, 150 + 40 * place)
            known = {"started": begun, "seconds": seconds, "usage": usage}
            proposals[node] = {**proposal, **known, **fates.get(node, {})}
            last = max(last, begun + proposals[node]["seconds"])
    message = state["messages"][-1]
    if isinstance(message, AIMessage) and (summary := message.response_metadata.get("moa")):
        tokens = usage_of(1840, 812)
        more = {"started": last, "seconds": 3.8, "aggregator_usage": tokens}
        metadata = {**message.response_metadata, "moa": {**summary, **more}}
        answered = message.model_copy(update={"response_metadata": metadata})
        return {**state, "proposals": proposals, "messages": [*state["messages"][:-1], answered]}
    return {**state, "proposals": proposals}


def usage_of(read: int, written: int) -> dict[str, int]:
    """Give tokens as LangChain counts them."""
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def failed(error: str, **more: Any) -> dict[str, Any]:
    """Give what the state says of a call without an answer."""
    return {"content": "", "error": error, "usage": None, "seconds": 0.7, **more}


def run(layers: Any, aggregator: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Run a mixture, and give it with the state."""
    graph = create_moa(layers, aggregator or model("writer"), **options)
    compiled = graph.compile(checkpointer=InMemorySaver(), name="house")
    state = compiled.invoke({"messages": QUESTION}, CONFIG)
    return compiled, state


def page(graph: Any, state: Mapping[str, Any], **options: Any) -> str:
    """Write a report with all that is known."""
    history = list(graph.get_state_history(CONFIG))
    return report(state, graph, history=history, prices=PRICES, **options)


def whole() -> str:
    """Show a run in which all answered."""
    graph, state = run([layer()] * 2)
    return page(graph, finish(state))


def wide() -> str:
    """Show three layers of eight."""
    graph, state = run([layer(8)] * 3)
    return page(graph, finish(state))


def degraded() -> str:
    """Show failures, a call that was cut off, a cached one, a hedged one and one at its limit."""
    graph, state = run([layer()] * 2, quorum=3)
    old = {"usage": usage_of(60, 212), "seconds": 4.0}
    return page(
        graph,
        finish(
            state,
            layer_1_grove={"cached": old, "usage": usage_of(0, 0), "seconds": 0.01},
            layer_1_amber={"hedged": True},
            layer_2_dune=failed("503, service unavailable; asked three times"),
            layer_2_fjord=failed(
                "cut off by the layer's deadline of 6 s",
                seconds=6.2,
                partial_content="Sorting a linked list",
            ),
            layer_2_cedar={"finish_reason": "length"},
        ),
    )


def aggregator_failed() -> str:
    """Show a run whose aggregator failed."""
    graph, state = run([layer()] * 2)
    failure = {"model": "local:writer", "error": "APIStatusError: 529, overloaded"}
    states = finish({**state, "messages": state["messages"][:1]})
    return page(graph, {**states, AGGREGATOR_FAILURE: failure})


def quorum_lost() -> str:
    """Show a run that ended in a layer of which too few answered."""
    graph, state = run([layer()] * 2, quorum=4)
    fates = {
        f"layer_2_{name}": failed("RateLimitError: 429, too many requests")
        for name in ("amber", "birch", "cedar")
    }
    return page(graph, finish({**state, "messages": state["messages"][:1]}, **fates))


def unfinished() -> str:
    """Show a run that was interrupted before the aggregator."""
    graph, state = run([layer()] * 2)
    return page(graph, finish({**state, "messages": state["messages"][:1]}))


def early_stop() -> str:
    """Show a run that asked one of three layers."""
    same = {name: FakeModel(name=f"local:{name}", answers=["42"]) for name in NAMES[:3]}
    graph, state = run([same] * 3, model("writer", "42"), early_stop=0.9)
    return page(graph, finish(state))


def mathematics() -> str:
    """Show formulas, in the answer and in proposals."""
    models = {"amber": model("amber", MATHEMATICS), "birch": model("birch", MATHEMATICS[600:])}
    graph, state = run([layer(3, **models)], model("writer", f"{MATHEMATICS} That is all."))
    return page(graph, finish(state))


def routed() -> str:
    """Show a run that a router sent past the layers."""
    router = Router(lambda _: False, easy=model("amber"))
    graph, state = run([layer(3)] * 2, router=router)
    return page(graph, finish(state))


def reused() -> str:
    """Show a run whose proposals are those of an earlier call."""
    graph, state = run([layer(3)])
    old = {"usage": usage_of(60, 212), "seconds": 4.0}
    fates = {node: {"cached": old, "usage": usage_of(0, 0)} for node in state["proposals"]}
    finished = finish(state, **fates)
    finished["messages"][-1].response_metadata["moa"]["reused_proposals"] = True
    return page(graph, finished)


def alike() -> str:
    """Show proposals of which two have the same text, and whose headings are large."""
    text = f"# Use merge sort\n\n{SHARED}{SPLIT}\n\n## Why\n\n{CODE}\n\n{TABLE}"
    models = {
        "amber": model("amber", text),
        "birch": model("birch"),
        "cedar": model("cedar", text),
    }
    graph, state = run([models])
    return page(graph, finish(state))


def two() -> str:
    """Show a mixture of two models."""
    graph, state = run([layer(2)])
    return page(graph, finish(state))


def nested() -> str:
    """Show a mixture one of whose proposers is a mixture."""
    inner = create_moa([layer(2)], model("cedar")).compile(name="inner")
    graph, state = run([{**layer(2), "inner": inner}] * 2)
    return page(graph, finish(state))


def long() -> str:
    """Show a long answer to many lines of a question."""
    texts = {name: f"{PROPOSALS[name]}\n\n" * 4 for name in NAMES[:6]}
    models = {name: model(name, text) for name, text in texts.items()}
    graph, state = run([models] * 2, model("writer", ANSWER * 8))
    return page(graph, finish(state))


def dissent() -> str:
    """Show proposals that give different answers."""
    answers = {"amber": "42", "birch": "<b>41</b>", "cedar": "42", "dune": "40"}
    models = {name: model(name, answer) for name, answer in answers.items()}
    graph, state = run([models], model("writer", "The answer is 42."))
    return page(graph, finish(state))


def voted() -> str:
    """Show a vote."""
    ballots = {name: model(name, '{"ranking": [2, 1, 3]}') for name in NAMES[:3]}
    graph, state = run([layer(3)], aggregation="vote", voters=list(ballots.values()))
    return page(graph, finish(state))


def selected() -> str:
    """Show a proposal that the aggregator picked."""
    graph, state = run([layer(3)], model("writer", "2"), aggregation="select")
    return page(graph, finish(state))


def windows() -> str:
    """Show proposals that are read in windows."""
    graph, state = run([layer(4)], aggregation="sequential", references_per_window=2)
    return page(graph, finish(state))


def analysed() -> str:
    """Show an analysis of the proposals."""
    found = {
        "consensus": ["Split in the middle with two pointers"],
        "contradictions": [
            {
                "issue": "Is an array faster?",
                "positions": [
                    {"stance": "yes, in practice", "responses": ["2"]},
                    {"stance": "no, it doubles the memory", "responses": ["1", "3"]},
                ],
            }
        ],
        "unique": [{"point": "Very short lists need another method", "response": "3"}],
        "blind_spots": ["Doubly linked lists"],
    }
    analyst = model("analyst", json.dumps(found))
    graph, state = run([layer(3)], analysis=analyst)
    return page(graph, finish(state))


def second_turn() -> str:
    """Show the second turn of three."""
    graph, _ = run([layer(3)])
    for question in ("And in place?", "And in parallel?"):
        graph.invoke({"messages": question}, CONFIG)
    return page(graph, graph.get_state(CONFIG).values, turn=2)


def edited() -> str:
    """Show a run in which a person changed a proposal and dropped another one."""
    graph, _ = run([layer(4)])
    step = next(s for s in graph.get_state_history(CONFIG) if s.next == ("layer_1_aggregator",))
    changes = {"layer_1_amber": {"content": "Use insertion sort."}, "layer_1_dune": None}
    fork = graph.update_state(step.config, {"proposals": changes}, as_node="layer_1_amber")
    state = graph.invoke(None, fork)
    return page(graph, state)


def in_a_host() -> str:
    """Show the run of a mixture that a host embeds."""
    moa = create_moa([layer(3)], model("writer")).compile()
    host = StateGraph(MoAState)
    host.add_node("moa", moa)
    host.add_edge(START, "moa")
    compiled = host.compile(checkpointer=InMemorySaver())
    return page(compiled, finish(compiled.invoke({"messages": QUESTION}, CONFIG)))


def cut_answer() -> str:
    """Show an answer that is not whole, to a long question in Arabic, without a graph."""
    question = "كيف أرتب قائمة متصلة؟ " * 12 + "\n\nشكرا"
    message = AIMessage("It begins", response_metadata={"finish_reason": "length"})
    graph = create_moa([layer(8)], model("writer", message))
    return report(finish(graph.compile().invoke({"messages": question})))


def replaced() -> str:
    """Show an answer that a fallback wrote."""
    broken = model("writer", OSError("down"))
    graph, state = run([layer(3)], broken, fallbacks=[model("second", ANSWER)])
    return page(graph, finish(state))


def without_proposals() -> str:
    """Show what a state has that lacks the proposals."""
    graph, state = run([layer(3)])
    return report({"messages": state["messages"]}, graph)


STATES: dict[str, Callable[[], str]] = {
    each.__name__: each
    for each in (
        *(whole, wide, degraded, aggregator_failed, quorum_lost, unfinished, early_stop, routed),
        *(
            reused,
            alike,
            two,
            nested,
            long,
            dissent,
            voted,
            selected,
            windows,
            analysed,
            second_turn,
            edited,
            in_a_host,
        ),
        *(cut_answer, replaced, without_proposals, mathematics),
    )
}
