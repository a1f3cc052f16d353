"""A vote: agents rank the proposals, and the best go on."""

import asyncio
import json
import re
from fractions import Fraction
from itertools import permutations

import pytest
from fakes import FakeModel
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import (
    Agent,
    ChatMoA,
    MoAConfig,
    QuorumError,
    create_moa,
    draw_mermaid,
)
from moa_graph.batch.input import batch_name
from moa_graph.drawing.diagram import read_diagram
from moa_graph.evals.ablations import Ablations
from moa_graph.graph.voting import Vote, format_ballot, read_ballot
from moa_graph.prompting.ballots import (
    BALLOT_NAME,
    MAX_BALLOT_CHARS,
    InvalidBallotError,
    parse_ballot,
)
from moa_graph.prompting.layout import RANK_ALL, RANK_THE_RESPONSES
from moa_graph.run_report.prompts import read_prompts
from moa_graph.runs.record import read_run

THREAD = {"configurable": {"thread_id": "1"}}
QUESTION = {"messages": [HumanMessage("Why?", id="q")]}
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def read(messages):
    return re.findall(r"^\d+\. (.*)$", messages[0].text, re.MULTILINE)


class Voter(FakeModel):
    """Proposes its first answer; ranks responses by where they stand in `likes`, if it has any."""

    likes: str = ""

    def _answer(self, messages):
        self.asked.append(list(messages))
        if not messages[-1].text.endswith(RANK_ALL):
            return self.answers[0]
        order = sorted(enumerate(read(messages), 1), key=lambda each: self.likes.index(each[1]))
        return AIMessage(" > ".join(str(n) for n, _ in order), usage_metadata=USAGE)


def proposers(likes, texts="abcdef"):
    return {
        text: Voter(answers=[text], likes=like) for text, like in zip(texts, likes, strict=False)
    }


def reviewers(*likes):
    return {f"r{n}": Voter(likes=like) for n, like in enumerate(likes)}


def vote(layer, aggregator=None, **options):
    return create_moa([layer], aggregator or FakeModel(), aggregation="vote", **options)


def account(result):
    return result["messages"][-1].response_metadata["moa"]


def ballots_of(asked):
    return [messages for messages in asked if messages[-1].text.endswith(RANK_ALL)]


def test_the_winner_is_the_answer_word_for_word_and_the_aggregator_is_not_asked(invoke):
    last = FakeModel()
    result = invoke(vote(proposers(["bcda", "cbda", "bcda", "bcda"]), last).compile(), QUESTION)
    assert result["messages"][-1].text == "b"
    assert last.asked == []
    assert account(result)["selected"] == "layer_1_b"
    assert account(result)["vote"] == {
        "ranking": ["layer_1_b", "layer_1_c", "layer_1_d", "layer_1_a"],
        "points": {"layer_1_b": 1.0, "layer_1_c": 0.6667, "layer_1_d": 0.3333, "layer_1_a": 0.0},
        "ballots": 4,
        "missing": [],
        "tied": [],
    }


def test_voters_read_all_but_their_own_without_names_in_an_order_of_their_own(invoke):
    layer = proposers(["abcdef"] * 6)
    result = invoke(vote(layer).compile(), QUESTION)
    orders = [read(ballots_of(model.asked)[0]) for model in layer.values()]
    for name, order in zip(layer, orders, strict=True):
        assert sorted(order) == sorted(set(layer) - {name})
    assert any(order != sorted(order) for order in orders)
    system, user = ballots_of(layer["a"].asked)[0]
    assert system.text.startswith(f"{RANK_THE_RESPONSES}\n\nResponses from models:\n1. ")
    assert user.text == f"Why?\n\n{RANK_ALL}"
    assert "layer_1" not in system.text
    ballot = result["proposals"]["vote_a"]
    assert ballot["content"].splitlines()[0] == "1. layer_1_b"
    assert [node[-1] for node in ballot["references_read"]] == orders[0]


def test_named_reviewers_rank_all(invoke):
    layer = {name: FakeModel(answers=[name]) for name in "ab"}
    judges = reviewers("ab", "ba", "ba")
    result = invoke(vote(layer, voters=judges).compile(), QUESTION)
    assert result["messages"][-1].text == "b"
    assert account(result)["vote"]["points"] == {"layer_1_b": 0.6667, "layer_1_a": 0.3333}
    assert all(len(model.asked) == 1 for model in [*layer.values(), *judges.values()])


def test_a_single_proposal_is_ranked_without_a_call(invoke):
    judge = Voter(likes="a")
    moa = vote(
        {"a": FakeModel(answers=["a"]), "bad": FakeModel(answers=[ValueError("down")])},
        voters={"judge": judge},
        quorum=1,
    )
    result = invoke(moa.compile(), QUESTION)
    assert result["messages"][-1].text == "a"
    assert judge.asked == []
    assert account(result)["vote"]["ballots"] == 1
    assert "vote_judge" not in account(result)["usage_unknown"]


def test_the_best_go_to_the_aggregator_in_configured_order(invoke):
    last = FakeModel(answers=["written"])
    moa = vote(proposers(["dcba", "dcba", "dbca", "cbda"]), last, finalists=2)
    result = invoke(moa.compile(), QUESTION)
    assert result["messages"][-1].text == "written"
    assert account(result)["vote"]["ranking"][:2] == ["layer_1_d", "layer_1_c"]
    assert read(last.asked[0]) == ["c", "d"]
    assert account(result)["references_read"] == ["layer_1_c", "layer_1_d"]
    assert "selected" not in account(result)


def test_a_tie_is_told_and_first_places_decide_it(invoke):
    judges = reviewers("abc", "cba")
    layer = {name: FakeModel(answers=[name]) for name in "bac"}
    result = invoke(vote(layer, voters=judges).compile(), QUESTION)
    assert account(result)["vote"]["tied"] == ["layer_1_a", "layer_1_c", "layer_1_b"]
    assert set(account(result)["vote"]["points"].values()) == {0.5}
    assert result["messages"][-1].text == "a"


def test_a_ballot_that_cannot_be_read_is_missing_and_told(invoke):
    layer = proposers(["bcd", "cda", "bda", "bca"]) | {"d": FakeModel(answers=["d", "I like b"])}
    result = invoke(vote(layer).compile(), QUESTION)
    told = account(result)["vote"]
    assert (told["ballots"], told["missing"]) == (3, ["vote_d"])
    assert "all 3 responses, best first, got 'I like b'" in account(result)["errors"]["vote_d"]
    assert (account(result)["asked"], account(result)["failed"]) == (4, [])


def test_without_a_quorum_of_ballots_the_vote_fails_and_only_missing_voters_are_asked_again(invoke):
    layer = {name: FakeModel(answers=[name]) for name in "ab"}
    judges = reviewers("ab") | {"bad": FakeModel(answers=[OSError("down"), "2 > 1"])}
    graph = vote(layer, voters=judges, quorum=1.0).compile(checkpointer=InMemorySaver())
    with pytest.raises(QuorumError, match="vote_bad: OSError: down"):
        invoke(graph, QUESTION, THREAD)
    result = invoke(graph, None, THREAD)
    assert account(result)["vote"]["ballots"] == 2
    assert [len(model.asked) for model in judges.values()] == [1, 2]
    assert [len(model.asked) for model in layer.values()] == [1, 1]


def test_a_proposal_that_failed_is_no_candidate_and_its_voter_ranks_all_others(invoke):
    layer = proposers(["bcd", "cda", "dba", "bca"]) | {
        "a": FakeModel(answers=[OSError("down"), "1 > 2 > 3"])
    }
    result = invoke(vote(layer).compile(), QUESTION)
    assert account(result)["failed"] == ["layer_1_a"]
    assert len(read(layer["a"].asked[1])) == 3
    assert set(account(result)["vote"]["ranking"]) == {"layer_1_b", "layer_1_c", "layer_1_d"}


def test_a_human_edits_a_ballot(invoke):
    layer = {name: FakeModel(answers=[name]) for name in "ab"}
    graph = vote(layer, voters=reviewers("ab")).compile(
        checkpointer=InMemorySaver(), interrupt_before=["votes"]
    )
    invoke(graph, QUESTION, THREAD)
    edited = {"vote_r0": {"content": "layer_1_b\nlayer_1_a"}}
    graph.update_state(THREAD, {"proposals": edited}, as_node="vote_r0")
    assert invoke(graph, None, THREAD)["messages"][-1].text == "b"


def test_a_resumed_vote_counts_the_ballots_that_there_are(invoke):
    layer, saver = proposers(["bcd", "cda", "bda", "bca"]), InMemorySaver()
    moa = vote(layer)
    invoke(moa.compile(checkpointer=saver, interrupt_before=["aggregator"]), QUESTION, THREAD)
    result = invoke(moa.compile(checkpointer=saver), None, THREAD)
    assert account(result)["vote"]["ballots"] == 4
    assert all(len(model.asked) == 2 for model in layer.values())


def test_a_second_turn_counts_no_ballot_of_the_first(invoke):
    layer = {name: FakeModel(answers=[name]) for name in "ab"}
    judges = {"r": FakeModel(answers=["1 > 2", "nobody", "1 > 2"])}
    graph = vote(layer, voters=judges).compile(checkpointer=InMemorySaver())
    invoke(graph, QUESTION, THREAD)
    with pytest.raises(QuorumError):
        invoke(graph, {"messages": "How?"}, THREAD)


def test_tokens_of_ballots_count(invoke):
    layer = {n: FakeModel(answers=[AIMessage(n, usage_metadata=USAGE)]) for n in "ab"}
    result = invoke(vote(layer, voters=reviewers("ab", "ba", "ab")).compile(), QUESTION)
    assert account(result)["usage"]["total_tokens"] == 10
    assert account(result)["usage_unknown"] == []
    run = read_run(result)
    assert run.tokens == 10
    assert len(run.proposals) == 2


def test_a_voter_over_http_is_held_to_a_ranking_and_one_that_refuses_is_asked_in_words(
    server, invoke
):
    for name in "ab":
        server.model(name, reply=name)
    server.model("formed", reply='{"ranking": ["2", "1"]}')
    server.model("plain", reply="2 > 1", faults=[400])
    agents = {n: Agent(model=f"openai:{n}", base_url=server.url, max_retries=0) for n in "ab"}
    judges = {
        n: Agent(model=f"openai:{n}", base_url=server.url, max_retries=0)
        for n in ("formed", "plain")
    }
    graph = vote(agents, agents["a"], voters=judges).compile()
    for _ in range(2):
        result = invoke(graph, QUESTION)
    assert account(result)["vote"]["missing"] == []
    schema = server.calls_of("formed")[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["ranking"]["items"]["enum"] == ["1", "2"]
    forms = ["response_format" in call.body for call in server.calls_of("plain")]
    assert forms == [True, False, False]


def test_ballots_are_hidden_and_the_answer_comes_whole(server):
    for name, reply in {"a": "one", "b": "two", "r": "1 > 2"}.items():
        server.model(name, reply=reply)
    agents = {n: Agent(model=f"openai:{n}", base_url=server.url) for n in "abr"}
    judge = agents.pop("r")
    graph = vote(agents, judge, voters=[judge]).compile()
    shown = [
        (message.text, metadata["langgraph_node"])
        for message, metadata in graph.stream(QUESTION, stream_mode="messages")
        if message.text
    ]
    assert len(shown) == 1
    assert shown[0][0] in {"one", "two"}
    assert shown[0][1] == "aggregator"


def test_a_vote_is_drawn_and_so_is_its_run(invoke):
    moa = vote(proposers(["bc", "ca", "ba"]))
    drawn = draw_mermaid(moa)
    assert 'subgraph box2["votes"]' in drawn
    assert "ballot count" in drawn
    assert "aggregator (the winner)" in drawn
    result = invoke(moa.compile(), QUESTION)
    assert "(selected)" in draw_mermaid(moa, result)
    diagram = read_diagram(moa, read_run(result))
    assert {("vote_a", "votes"), ("votes", "aggregator")} <= set(diagram.edges)
    assert diagram.nodes["aggregator"].label == "aggregator (the winner)"


def test_a_report_shows_what_voters_read_and_nothing_for_the_winner(invoke):
    layer = proposers(["bcd", "cda", "bda", "bca"])
    moa = vote(layer)
    graph = moa.compile(checkpointer=InMemorySaver())
    state = invoke(graph, QUESTION, THREAD)
    prompts = read_prompts(read_run(state), state, moa.spec, graph.get_state_history(THREAD))
    assert len(prompts) == 2
    for prompt in prompts[1]:
        name = prompt.calls[0].node[-1]
        assert [m.text for m in prompt.messages] == [m.text for m in layer[name].asked[1]]


def test_a_chat_model_votes_and_streams_the_winner(invoke):
    layer = {name: FakeModel(answers=[name]) for name in "ab"}
    options = {"aggregation": "vote", "voters": reviewers("ba")}
    model = ChatMoA(layers=[layer], aggregator=FakeModel(), **options)
    assert invoke(model, "q").text == "b"
    assert [chunk.text for chunk in model.stream("q") if chunk.text] == ["b"]

    async def astreamed():
        return [chunk.text async for chunk in model.astream("q") if chunk.text]

    assert asyncio.run(astreamed()) == ["b"]
    with pytest.raises(ValueError, match="`aggregation`='vote' the aggregator picks a proposal"):
        model.bind_tools([{"type": "function", "function": {"name": "f", "parameters": {}}}])


def test_offline_agents_vote_for_what_is_most_like_the_others(invoke):
    texts = ["The sky is green.", "The sky is blue by day.", "By day, blue is the sky."]
    layer = {name: FakeModel(answers=[text]) for name, text in zip("abc", texts, strict=True)}
    moa = vote(layer, "offline:consensus", voters=["offline:lead", "offline:bm25"])
    result = invoke(moa.compile(), {"messages": "What colour is the sky?"})
    assert account(result)["vote"]["ranking"][-1] == "layer_1_a"
    assert account(result)["vote"]["ballots"] == 2


def test_a_file_names_voters_and_the_command_shows_ballots(moa, tmp_path):
    path = tmp_path / "vote.toml"
    path.write_text(
        'layers = [["offline:lead", "offline:bm25", "offline:ngram"]]\n'
        'aggregator = "offline:consensus"\naggregation = "vote"\n'
        'voters = ["judge"]\nfinalists = 2\n[agents]\njudge = "offline:consensus"\n'
    )
    config = MoAConfig.load(path)
    assert list(config.voters) == ["judge"]
    assert not config.picks_proposal
    done = moa("ask", "Where? It is here. It is not there.", "--config", path, "--show")
    assert done.returncode == 0, done.stderr
    assert "vote_judge" in done.stdout
    assert "; 1 ballot;" in done.stdout
    assert "3 of 3 proposals answered" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"nobody ranks its own proposal, and the last layer has 2; expected 3 or more, or `v"),
        ({"voters": ["offline:lead"], "finalists": 3}, "`finalists`=3: expected a number from 1"),
        ({"voters": ["offline:lead"], "finalists": True}, "`finalists`=True: expected a number"),
        ({"voters": []}, "`voters`: expected names mapped to models"),
        ({"aggregation": "select", "voters": ["offline:lead"]}, "expected only with `aggregat"),
        ({"aggregation": "synthesize", "finalists": 2}, "`finalists`=2: expected only with `aggr"),
    ],
)
def test_a_vote_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        create_moa(
            [["offline:lead", "offline:bm25"]], "offline:lead", **{"aggregation": "vote"} | options
        )


def test_voters_tell_batches_and_chat_models_apart(tmp_path):
    plain = {"layers": [["offline:lead"] * 3], "aggregator": "offline:lead", "aggregation": "vote"}
    changes = [{}, {"voters": ["offline:lead"]}, {"voters": ["offline:bm25"]}, {"finalists": 2}]
    assert len({batch_name(tmp_path, MoAConfig(**plain, **each)) for each in changes}) == 4
    assert len({str(ChatMoA(**plain, **each).asdict()) for each in changes}) == 4


def test_variants_vote():
    variants = {each.x: each for each in Ablations(MoAConfig.load("moa")).decision()}
    assert variants["vote"].config.aggregation == "vote"
    assert variants["vote, best two"].config.finalists == 2


NUMBERS = [2, 3, 1]


@pytest.mark.parametrize(
    "reply",
    [
        *("2 > 3 > 1", "2, 3, 1", "2 3 1", "2\n3\n1", "[2, 3, 1]", "2 > 3 > 1.", "**2 > 3 > 1**"),
        *("Response 2 > Response 3 > Response 1", "Ranking: 2 > 3 > 1", "#2 > #3 > #1"),
        *("1. 2\n2. 3\n3. 1", "1. Response 2\n2. Response 3\n3. Response 1", "2; 3; 1"),
        *("Two is sharp, one is wrong.\n\n2 > 3 > 1", "My ranking is: 2 > 3 > 1", "2 ≻ 3 ≻ 1"),
        *(
            '{"ranking": ["2", "3", "1"]}',
            '{"ranking": [2, 3, 1]}',
            '```json\n{"ranking": [2,3,1]}\n```',
        ),
        "<think>1 > 2 > 3?</think>2 > 3 > 1",
    ],
)
def test_a_ballot_is_read(reply):
    assert parse_ballot(AIMessage(reply), 3) == NUMBERS


@pytest.mark.parametrize(
    "reply",
    [
        *("", "2", "2 > 3", "2 > 3 > 3", "2 > 3 > 4", "0 > 1 > 2", "2 > 3 > 1 > 1", "2 > 3 > x"),
        *("2 and 3 are better than 1, I think", "two > three > one", "{", '{"ranking": "2 3 1"}'),
        *(
            '{"ranking": [2, 3]}',
            '{"order": [2, 3, 1]}',
            "2 > 3 > 1\nor 1 > 2 > 3?",
            "-2 > 3 > 1.5",
        ),
        *("[" * 10_000, "2 > 3 > 1 " * 10_000, "1" * MAX_BALLOT_CHARS),
    ],
)
def test_any_other_reply_is_no_ballot(reply):
    with pytest.raises(InvalidBallotError, match="expected the numbers of all 3 responses"):
        parse_ballot(AIMessage(reply), 3)


def test_a_call_of_the_tool_is_a_ballot_and_two_are_none():
    call = {"name": BALLOT_NAME, "args": {"ranking": ["2", "3", "1"]}, "id": "1"}
    assert parse_ballot(AIMessage("1 > 2 > 3", tool_calls=[call]), 3) == NUMBERS
    with pytest.raises(InvalidBallotError):
        parse_ballot(AIMessage("2 > 3 > 1", tool_calls=[call, call]), 3)


@given(st.permutations(range(1, 8)), st.sampled_from([" > ", ", ", "\n", " "]))
def test_whatever_is_written_as_a_ballot_is_read_as_one(numbers, separator):
    text = separator.join(map(str, numbers))
    assert parse_ballot(AIMessage(text), 7) == list(numbers)
    assert parse_ballot(AIMessage(json.dumps({"ranking": list(numbers)})), 7) == list(numbers)


@given(st.lists(st.permutations("abcd"), min_size=1, max_size=6))
def test_points_are_those_of_borda(orders):
    """Against a count by pairs: a place is worth as much as there are proposals behind it."""
    ballot_nodes = [f"vote_{n}" for n in range(len(orders))]
    stored = {node: {"error": None, "content": node} for node in "abcd"}
    for node, order in zip(ballot_nodes, orders, strict=True):
        stored[node] = {"error": None, "content": format_ballot(order)}
    layer_spec = type(
        "Voters", (), {"agent_nodes": [type("V", (), {"node": n}) for n in ballot_nodes]}
    )
    told = Vote(layer_spec, list("abcd"), 1).count({"proposals": stored})
    for node in "abcd":
        beaten = sum(
            o.index(node) < o.index(other) for o in orders for other in set("abcd") - {node}
        )
        assert told["points"][node] == round(float(Fraction(beaten, 3 * len(orders))), 4)
    values = list(told["points"].values())
    assert values == sorted(values, reverse=True)


def test_a_stored_ballot_is_read_back():
    for order in permutations(["layer_1_a", "layer_1_2. b", "c > d"]):
        assert read_ballot(format_ballot(order)) == list(order)
    assert read_ballot("b\n\n 1. a \nb") == ["b", "a"]


def test_a_lost_vote_is_told_of_voters(invoke):
    judges = {
        "r1": Voter(likes="ab"),
        "r2": FakeModel(answers=["no"]),
        "r3": FakeModel(answers=["no"]),
    }
    layer = {name: FakeModel(answers=[name]) for name in "ab"}
    with pytest.raises(QuorumError, match=r"^vote: 1 of 3 voters answered, 2 required: vote_r2: "):
        invoke(vote(layer, voters=judges, quorum=2).compile(), QUESTION)
