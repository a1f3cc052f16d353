"""Routers: who chooses, who answers, what is told of it, and what happens when one fails."""

import asyncio

import pytest
from decisions import FakeDecisions
from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from scripted_mixtures import Writer, calling

from moa_graph import Agent, ChatMoA, Router, create_moa, draw_mermaid, draw_svg, report
from moa_graph.runs.record import read_run

CONFIG = {"configurable": {"thread_id": "1"}}


def is_hard(messages):
    return "hard" in messages[-1].text


class Mixture:
    """Two layers of two proposers, an aggregator, and a model for easy questions."""

    def __init__(self, decider=is_hard, *, easy=None, writer=None, build=create_moa, **options):
        self.proposers = [FakeModel(answers=["proposal"]) for _ in range(4)]
        self.writer = writer or FakeModel(answers=["from the mixture"])
        self.easy = FakeModel(answers=["from the easy one"])
        a, b, c, d = self.proposers
        router = Router(decider, easy=easy or self.easy)
        self.built = build(
            [{"a": a, "b": b}, {"a": c, "b": d}], self.writer, router=router, **options
        )

    @property
    def asked(self):
        """How often the proposers, the aggregator and the easy model were asked."""
        proposers = sum(len(each.asked) for each in self.proposers)
        return [proposers, len(self.writer.asked), len(self.easy.asked)]


def summary_of(state):
    return state["messages"][-1].response_metadata["moa"]


def test_an_easy_question_goes_to_one_model(invoke):
    mixture = Mixture()
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert state["messages"][-1].text == "from the easy one"
    assert mixture.asked == [0, 0, 1]
    [prompt] = mixture.easy.asked
    assert [message.text for message in prompt] == ["q"]


def test_a_hard_question_goes_to_the_layers(invoke):
    mixture = Mixture()
    state = invoke(mixture.built.compile(), {"messages": "a hard one"})
    assert state["messages"][-1].text == "from the mixture"
    assert mixture.asked == [4, 1, 0]
    assert summary_of(state)["depth"] == {
        "layers": 2,
        "of": 2,
        "why": "is_hard returned True",
        "skipped": 0,
        "route": "full",
    }


def test_it_is_told_who_answered_and_that_nobody_else_was_asked(invoke):
    summary = summary_of(invoke(Mixture().built.compile(), {"messages": "q"}))
    assert summary["depth"] == {
        "layers": 0,
        "of": 2,
        "why": "is_hard returned False",
        "skipped": 4,
        "route": "easy",
    }
    assert (summary["layers"], summary["asked"], summary["proposers"]) == (0, 0, [])
    assert summary["degraded"] is False
    assert "agreement" not in summary


def test_an_async_function_chooses(invoke):
    async def choose(messages):
        await asyncio.sleep(0)
        return is_hard(messages)

    mixture = Mixture(choose)
    invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == [0, 0, 1]


@pytest.mark.parametrize(
    ("decider", "why"),
    [
        (lambda _: 1 / 0, "`router` failed: ZeroDivisionError: division by zero"),
        (lambda _: "nowhere", "`router` failed: LookupError: no route 'nowhere'"),
        (lambda _: None, "`router` failed: TypeError: <lambda> returned None"),
        (FakeDecisions(answers=[ValueError("down")]), "`router` failed: ValueError: down"),
    ],
)
def test_a_router_that_fails_sends_to_the_layers_and_says_so(decider, why, invoke, caplog):
    mixture = Mixture(decider)
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == [4, 1, 0]
    assert summary_of(state)["depth"]["why"].startswith(why)
    assert "`router` failed" in caplog.text


def test_a_decision_model_chooses_and_its_tokens_count(invoke):
    judge = FakeDecisions(answers=["easy"])
    mixture = Mixture(judge)
    summary = summary_of(invoke(mixture.built.compile(), {"messages": "q"}))
    assert mixture.asked == [0, 0, 1]
    assert summary["depth"]["why"] == "fake:judge: easy, confidence 0.80"
    assert summary["usage"]["total_tokens"] == 11
    assert [each["node"] for each in summary["decisions"]] == ["router"]
    [[state, questions]] = judge.asked
    assert state["conversation"][-1].text == "q"
    assert set(questions["decision"].criteria) == {"full", "easy"}


@pytest.mark.parametrize("route", ["easy", "full"])
def test_a_chat_model_chooses_by_structured_output(route, invoke, server):
    server.model("chooser", reply=f'{{"route": "{route}"}}')
    mixture = Mixture(ChatOpenAI(model="chooser", base_url=server.url, api_key="x"))
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert summary_of(state)["depth"]["route"] == route
    assert mixture.asked == ([0, 0, 1] if route == "easy" else [4, 1, 0])


def test_one_of_several_is_chosen_by_name(invoke):
    quick, careful = FakeModel(answers=["quick"]), FakeModel(answers=["careful"])
    inner = create_moa([{"a": careful}], FakeModel(answers=["from another mixture"]))
    easy = {"quick": quick, "small": inner.compile()}
    for route, text in (("quick", "quick"), ("small", "from another mixture")):
        mixture = Mixture(lambda _, route=route: route, easy=easy)
        state = invoke(mixture.built.compile(), {"messages": "q"})
        assert (state["messages"][-1].text, summary_of(state)["depth"]["route"]) == (text, route)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Router(3, easy="offline:lead"), "`router`: decider 3: expected a function"),
        (
            lambda: Router(is_hard, easy={"full": "offline:lead"}),
            "'full' is the name of the layers",
        ),
        (lambda: Router(is_hard, easy={"a:b": "offline:lead"}), "expected a name without ':'"),
        (
            lambda: Router(is_hard, easy="offline:lead", criteria={"esay": "x"}),
            "criteria for 'esay', which is not a route; expected one of: full, easy",
        ),
        (lambda: Router(is_hard, easy={}), "`router`: easy={}: expected a model, or names"),
        (
            lambda: Router("nobody", easy="offline:lead"),
            "`router`: decider 'nobody': expected 'provider:model'",
        ),
        (
            lambda: Router("offline:lead", easy="offline:lead"),
            "`router`: decider 'offline:lead': has no structured output",
        ),
        (
            lambda: Router(is_hard, easy="offline:lead", instructions=3),
            "`router`: instructions=3: expected a text",
        ),
        (
            lambda: Router(is_hard, easy="offline:lead", criteria="small talk"),
            "`router`: criteria='small talk': expected names of routes mapped to texts",
        ),
        (
            lambda: Router(is_hard, easy="offline:lead", criteria={"easy": 3}),
            "`router`: criteria=.*: expected names of routes mapped to texts",
        ),
        (
            lambda: create_moa(
                [["offline:lead"]],
                "offline:lead",
                router=Router("openai:gpt-6-luna", easy="offline:lead"),
            ),
            "needs a key: set the environment variable OPENAI_API_KEY",
        ),
        (
            lambda: create_moa([["offline:lead"]], "offline:lead", router=is_hard),
            r"`router`=.*expected Router\(decider, easy=",
        ),
        (
            lambda: create_moa(
                [["offline:lead"]], "offline:lead", router=Router(is_hard, easy="nobody")
            ),
            "'nobody'",
        ),
    ],
)
def test_what_is_no_router_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_route_that_a_human_did_not_name_is_not_called_full():
    moa = Mixture(lambda _: True).built.compile(
        checkpointer=InMemorySaver(), interrupt_after=["router"]
    )
    moa.invoke({"messages": "q"}, CONFIG)
    moa.update_state(CONFIG, {"depth": {"router": {"stop": True}}}, as_node="router")
    depth = summary_of(moa.invoke(None, CONFIG))["depth"]
    assert (depth["layers"], depth.get("route")) == (0, None)


def test_a_function_may_give_a_truth_value_of_numpy(invoke):
    numpy = pytest.importorskip("numpy")
    state = invoke(Mixture(lambda _: numpy.False_).built.compile(), {"messages": "q"})
    assert summary_of(state)["depth"]["layers"] == 0


@pytest.mark.parametrize("reply", ['{"route": "nowhere"}', "hard to say", '["full"]'])
def test_a_chat_model_that_names_no_route_counts_with_its_tokens(reply, server, invoke):
    server.model("chooser", reply=reply)
    agent = Agent(model="openai:chooser", base_url=server.url, max_retries=0)
    summary = summary_of(invoke(Mixture(agent).built.compile(), {"messages": "q"}))
    assert summary["depth"]["route"] == "full"
    assert summary["depth"]["why"].startswith("`router` failed: ")
    [decision] = summary["decisions"]
    assert decision["model"] == "openai:chooser"
    assert decision["usage"]["total_tokens"] > 0


def test_an_easy_model_that_fails_is_replaced_by_the_aggregator_alone(invoke):
    mixture = Mixture(easy=FakeModel(answers=[ValueError("down")]))
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert state["messages"][-1].text == "from the mixture"
    assert [message.text for message in mixture.writer.asked[0]] == ["q"]
    assert summary_of(state)["degraded"] is True
    assert summary_of(state)["failed_calls"][0]["node"] == "route_easy"


def test_what_the_last_turn_left_is_not_told_of_this_one(invoke):
    moa = Mixture().built.compile(checkpointer=InMemorySaver())
    first = invoke(moa, {"messages": "a hard one"}, CONFIG)
    second = invoke(moa, {"messages": "q"}, CONFIG)
    assert len(first["proposals"]) == 4
    assert second["proposals"] == {}
    assert [summary_of(each)["depth"]["layers"] for each in (first, second)] == [2, 0]
    third = invoke(moa, {"messages": "another hard one"}, CONFIG)
    assert (len(third["proposals"]), summary_of(third)["asked"]) == (4, 4)


def test_the_route_is_stored_and_a_human_overrules_it(invoke):
    calls = []
    mixture = Mixture(lambda _: bool(calls.append(1)))
    moa = mixture.built.compile(checkpointer=InMemorySaver(), interrupt_after=["router"])
    invoke(moa, {"messages": "q"}, CONFIG)
    assert moa.get_state(CONFIG).next == ("aggregator",)
    moa.update_state(CONFIG, {"depth": {"router": {"stop": False}}}, as_node="router")
    assert moa.get_state(CONFIG).next == ("layer_1_a", "layer_1_b")
    state = invoke(moa, None, CONFIG)
    assert (mixture.asked, calls) == ([4, 1, 0], [1])
    assert summary_of(state)["depth"]["layers"] == 2


def test_it_goes_with_stopping_early(invoke):
    mixture = Mixture(early_stop=0.9)
    state = invoke(mixture.built.compile(), {"messages": "a hard one"})
    depth = summary_of(state)["depth"]
    assert (depth["layers"], depth["route"], depth["why"]) == (
        *(1, "full"),
        "agreement 1.00, at least 0.9",
    )


def test_shadow_asks_the_layers_and_tells_what_would_have_been_saved(invoke):
    mixture = Mixture(shadow=True)
    state = invoke(mixture.built.compile(), {"messages": "q"})
    assert mixture.asked == [4, 1, 0]
    depth = summary_of(state)["depth"]
    assert (depth["route"], depth["skipped"]) == ("full", 0)
    assert (depth["shadow"]["layers"], depth["shadow"]["skipped"]) == (0, 4)


def test_a_mixture_that_selects_has_easy_questions_answered(invoke):
    mixture = Mixture(aggregation="select", writer=FakeModel(answers=["1"]))
    moa = mixture.built.compile()
    assert invoke(moa, {"messages": "q"})["messages"][-1].text == "from the easy one"
    assert invoke(moa, {"messages": "a hard one"})["messages"][-1].text == "proposal"


def test_easy_answers_stream(stream):
    words = stream(Mixture().built.compile(), {"messages": "q"}, stream_mode="messages")
    assert "".join(chunk.text for chunk, _ in words).split() == ["from", "the", "easy", "one"]


def test_router_and_dashed_edge_are_drawn(snapshot):
    assert draw_mermaid(Mixture().built) == snapshot


def test_layers_that_were_not_asked_are_grey(invoke):
    built = Mixture().built
    state = invoke(built.compile(), {"messages": "q"})
    assert draw_mermaid(built, state).count(":::skipped") == 7  # and the legend
    assert "0 of 2 layers" in draw_svg(built, state)
    assert "0 of 2 layers run: is_hard returned False" in report(state, built)
    assert len(read_run(state, order=built.compile().nodes).calls) == 1


@tool
def look() -> str:
    """Look."""
    return "seen"


def test_a_chat_model_keeps_to_the_route_in_a_tool_loop(invoke):
    calls = []

    def choose(_):
        calls.append(1)
        return False

    easy = Writer(answers=[calling(), calling(), "the answer"])
    mixture = Mixture(choose, easy=easy, build=ChatMoA, writer=Writer(answers=["no"]))
    result = invoke(create_agent(mixture.built, [look]), {"messages": "q"})
    assert result["messages"][-1].text == "the answer"
    assert (calls, len(easy.asked), mixture.asked[:2]) == ([1], 3, [0, 0])
    summaries = [each.response_metadata["moa"] for each in result["messages"][1::2]]
    assert [each["depth"]["route"] for each in summaries] == ["easy"] * 3


def test_a_chat_model_streams_the_easy_answer(stream):
    chunks = stream(Mixture(build=ChatMoA).built, "q")
    assert "".join(chunk.text for chunk in chunks).split() == ["from", "the", "easy", "one"]
    assert chunks[-1].response_metadata["moa"]["depth"]["layers"] == 0


def test_usage_of_the_easy_model_is_that_of_the_run(invoke):
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    easy = FakeModel(answers=[AIMessage("x", usage_metadata=usage)])
    summary = summary_of(invoke(Mixture(easy=easy).built.compile(), {"messages": "q"}))
    assert (summary["usage"], summary["usage_unknown"]) == (usage, [])
