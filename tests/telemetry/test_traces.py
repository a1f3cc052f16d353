"""Spans of OpenTelemetry, as an SDK receives them."""

import asyncio
import json

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from waiting import wait_until

from moa_graph import (
    Agent,
    AggregatorError,
    ChatMoA,
    MoAMiddleware,
    OpenTelemetryHandler,
    QuorumError,
    create_moa,
)

ASKED = {"messages": "q"}
KEY = "sk-MARKED-9f3b77c1d2"


class Traced:
    """A handler, and the spans that came of it."""

    def __init__(self, **options):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.handler = OpenTelemetryHandler(self.provider, **options)
        self.config = {"callbacks": [self.handler]}

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.spans if span.name == name]

    def one(self, name):
        (span,) = self.named(name)
        return span

    def tree(self):
        """The names of the spans below each other, siblings in order."""
        ids = {span.context.span_id: span for span in self.spans}

        def below(parent):
            return sorted(
                (span.name, below(span.context.span_id))
                for span in ids.values()
                if (span.parent.span_id if span.parent else None) == parent
            )

        return below(None)


@pytest.fixture
def traced():
    return Traced()


def mixture(*layers, aggregator=None, name="mine", **options):
    aggregator = aggregator or FakeModel(answers=["final"])
    return create_moa([*layers], aggregator, **options).compile(name=name)


def agents(*names, **options):
    return {name: FakeModel(**options) for name in names}


def asks(agent):
    return (f"invoke_agent {agent}", [("chat fake", [])])


def test_a_run_is_a_workflow_over_its_agents_over_their_calls(invoke, traced):
    invoke(mixture(agents("a", "b"), agents("c")), ASKED, traced.config)
    assert traced.tree() == [
        ("invoke_workflow mine", [asks("a"), asks("aggregator"), asks("b"), asks("c")])
    ]
    assert traced.one("invoke_workflow mine").attributes == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.agent.name": "mine",
        "moa.status": "answered",
    }
    layers = {span.name: span.attributes.get("moa.layer") for span in traced.spans}
    assert layers["invoke_agent a"] == 1
    assert layers["invoke_agent c"] == 2
    assert layers["invoke_agent aggregator"] is None
    nodes = {span.attributes["moa.node"] for span in traced.named("chat fake")}
    assert nodes == {"layer_1_a", "layer_1_b", "layer_2_c", "aggregator"}
    assert {span.kind for span in traced.named("chat fake")} == {SpanKind.CLIENT}


def test_a_call_says_who_was_asked_and_what_it_took(invoke, traced, server):
    server.model("m", reply="two words", finish_reason="length", cached=3)
    agent = Agent(model="openai:m", base_url=server.url, temperature=0.5, max_tokens=7)
    invoke(mixture({"a": agent}), {"messages": "one two three four"}, traced.config)
    told = traced.one("chat m").attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "m"
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.request.max_tokens"] == 7
    assert told["gen_ai.usage.input_tokens"] == 4
    assert told["gen_ai.usage.output_tokens"] == 2
    assert told["gen_ai.usage.cache_read.input_tokens"] == 3
    assert told["gen_ai.response.finish_reasons"] == ("length",)
    assert told["moa.layer"] == 1
    assert traced.one("invoke_agent a").attributes["moa.model"] == "openai:m"


def test_offline_agents_pass_for_no_language_model(invoke, traced):
    invoke(mixture(["offline:lead"], aggregator="offline:consensus"), ASKED, traced.config)
    assert traced.tree() == [
        (
            "invoke_workflow mine",
            [
                ("invoke_agent aggregator", [("chat consensus", [])]),
                ("invoke_agent lead", [("chat lead", [])]),
            ],
        )
    ]
    assert traced.one("chat lead").attributes["gen_ai.provider.name"] == "offline"


def test_a_dead_proposer_is_an_error_of_its_call_and_its_agent(invoke, traced, server):
    server.model("m", always=429)
    dead = Agent(model="openai:m", base_url=server.url, max_retries=0)
    invoke(mixture({"dead": dead} | agents("a")), ASKED, traced.config)
    for name in ("chat m", "invoke_agent dead"):
        span = traced.one(name)
        assert span.status.status_code == StatusCode.ERROR
        assert span.attributes["error.type"] == "429"
    run = traced.one("invoke_workflow mine")
    assert run.attributes["moa.status"] == "degraded"
    assert run.attributes["moa.failed"] == ("layer_1_dead",)
    assert run.status.status_code == StatusCode.UNSET


def test_an_answer_that_is_none_is_an_error_of_its_agent(invoke, traced):
    invoke(mixture(agents("a") | agents("empty", answers=[""])), ASKED, traced.config)
    assert traced.one("invoke_agent empty").attributes["error.type"] == "EmptyAnswerError"


def test_a_lost_quorum_is_an_error_of_the_workflow(invoke, traced):
    moa = mixture(agents("a", "b", answers=[ValueError("no")]))
    with pytest.raises(QuorumError):
        invoke(moa, ASKED, traced.config)
    run = traced.one("invoke_workflow mine")
    assert run.status.status_code == StatusCode.ERROR
    assert run.attributes["error.type"] == "QuorumError"
    assert run.attributes["moa.status"] == "failed"
    assert set(run.attributes["moa.failed"]) == {"layer_1_a", "layer_1_b"}


def test_a_fallback_is_a_call_beside_that_of_the_aggregator(invoke, traced):
    broken = FakeModel(answers=[ValueError("no")])
    moa = mixture(agents("a"), aggregator=broken, fallbacks=[FakeModel(answers=["final"])])
    invoke(moa, ASKED, traced.config)
    assert traced.tree() == [
        (
            "invoke_workflow mine",
            [asks("a"), ("invoke_agent aggregator", [("chat fake", []), ("chat fake", [])])],
        )
    ]
    run = traced.one("invoke_workflow mine").attributes
    assert (run["moa.status"], run["moa.failed"]) == ("degraded", ("aggregator",))


def test_no_answer_of_any_aggregator_is_an_error_of_all_above(invoke, traced):
    with pytest.raises(AggregatorError):
        invoke(
            mixture(agents("a"), aggregator=FakeModel(answers=[ValueError()])), ASKED, traced.config
        )
    for name in ("invoke_agent aggregator", "invoke_workflow mine"):
        assert traced.one(name).status.status_code == StatusCode.ERROR


async def test_a_straggler_that_is_cut_off_leaves_no_span_open(traced):
    slow = FakeModel(until=lambda: False)
    moa = mixture({"slow": slow} | agents("a"), deadline=0.2)
    await moa.ainvoke(ASKED, traced.config)
    assert ("invoke_agent slow", [("chat fake", [])]) in traced.tree()[0][1]
    assert traced.one("invoke_agent slow").attributes["moa.status"] == "cut off"
    assert traced.one("invoke_agent slow").attributes["error.type"] == "DeadlineExceededError"


@pytest.mark.parametrize("kind", ["graph", "chat model", "stream"])
async def test_a_cancelled_run_ends_all_its_spans(kind, traced):
    hanging = FakeModel(until=lambda: False)
    if kind == "graph":
        run = mixture({"a": hanging}).ainvoke(ASKED, traced.config)
    else:
        model = ChatMoA([{"a": hanging}], FakeModel(), model_name="mine")
        run = (
            model.ainvoke("q", traced.config)
            if kind == "chat model"
            else anext(model.astream("q", traced.config))
        )
    task = asyncio.ensure_future(run)
    await wait_until(lambda: hanging.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert traced.tree() == [("invoke_workflow mine", [asks("a")])]
    for span in traced.spans:
        assert span.attributes["error.type"] == "CancelledError"
    assert traced.one("invoke_workflow mine").attributes["moa.status"] == "cancelled"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_chat_model_is_a_workflow_and_no_call(streams, traced):
    model = ChatMoA([agents("a")], FakeModel(answers=["final"]), model_name="mine")
    if streams:
        assert [chunk async for chunk in model.astream("q", traced.config)]
        assert "".join([chunk.text for chunk in model.stream("q", traced.config)])
    else:
        await model.ainvoke("q", traced.config)
        model.invoke("q", traced.config)
    assert traced.tree() == [("invoke_workflow mine", [asks("a"), asks("aggregator")])] * 2
    assert traced.named("invoke_workflow mine")[0].attributes["moa.status"] == "answered"


def test_a_mixture_in_a_mixture_is_a_workflow_below_its_agent(invoke, traced):
    inner = mixture(agents("x"), name="inner")
    invoke(mixture({"a": inner}), ASKED, traced.config)
    nested = ("invoke_workflow inner", [asks("aggregator"), asks("x")])
    assert traced.tree() == [
        ("invoke_workflow mine", [("invoke_agent a", [nested]), asks("aggregator")])
    ]


def test_the_panel_of_an_agent_is_a_workflow_beside_the_calls_of_its_model(invoke, traced):
    panel = MoAMiddleware(layers=[agents("a")], name="panel")
    agent = create_agent(FakeModel(answers=["final"]), middleware=[panel])
    invoke(agent, ASKED, traced.config)
    assert traced.tree() == [("chat fake", []), ("invoke_workflow panel", [asks("a")])]
    assert traced.one("invoke_workflow panel").attributes["moa.status"] == "answered"


def test_an_agent_that_is_no_chat_model_has_a_span_of_its_own(invoke, traced):
    invoke(mixture({"a": RunnableLambda(lambda _: "an answer")}), ASKED, traced.config)
    assert ("invoke_agent a", []) in traced.tree()[0][1]


def test_a_span_that_is_current_is_the_parent(invoke, traced):
    with traced.provider.get_tracer("test").start_as_current_span("request"):
        invoke(mixture(agents("a")), ASKED, traced.config)
    ((name, below),) = traced.tree()
    assert name == "request"
    assert [each[0] for each in below] == ["invoke_workflow mine"]


async def test_runs_side_by_side_have_traces_of_their_own(traced):
    moa = mixture(agents("a", "b"))
    await asyncio.gather(*(moa.ainvoke(ASKED, traced.config) for _ in range(5)))
    traces = [span.context.trace_id for span in traced.spans]
    assert sorted(traces.count(trace) for trace in set(traces)) == [7] * 5
    assert (
        traced.tree() == [("invoke_workflow mine", [asks("a"), asks("aggregator"), asks("b")])] * 5
    )


def test_contents_are_in_no_span_unless_somebody_asks(invoke, traced):
    invoke(mixture(agents("a", answers=["ANSWER"])), {"messages": "QUESTION"}, traced.config)
    told = "".join(span.to_json() for span in traced.spans)
    assert "QUESTION" not in told
    assert "ANSWER" not in told


@pytest.mark.parametrize("asked", ["option", "true", "SPAN_ONLY"])
def test_contents_that_are_asked_for_stand_in_the_spans_of_calls(asked, invoke, monkeypatch):
    if asked != "option":
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", asked)
    traced = Traced(**({"capture_content": True} if asked == "option" else {}))
    moa = mixture(agents("a", answers=["ANSWER"]))
    invoke(moa, {"messages": [HumanMessage(f"QUESTION {KEY}")]}, traced.config)
    (call,) = (
        span for span in traced.named("chat fake") if span.attributes["moa.node"] == "layer_1_a"
    )
    assert json.loads(call.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "QUESTION ***"}]}
    ]
    assert json.loads(call.attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "ANSWER"}],
            "finish_reason": "stop",
        }
    ]


def test_without_an_sdk_nothing_is_recorded_and_runs_go_on(invoke):
    handler = OpenTelemetryHandler()
    assert invoke(mixture(agents("a")), ASKED, {"callbacks": [handler]})["messages"]


def test_handler_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.trace", None)
    with pytest.raises(ImportError, match=r"pip install 'moa_graph\[otel\]'"):
        OpenTelemetryHandler()
