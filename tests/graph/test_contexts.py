"""Prompts that are too long for a model are cut by what it says and by what it counted."""

import logging
import pickle

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from moa_graph import Agent, AggregatorError, QuorumError, create_moa
from moa_graph.graph.prompts import ContextExceededError
from moa_graph.prompting.tokens import count_message_tokens

LONG = "sky " * 2000
CONFIG = {"configurable": {"thread_id": "1"}}


def overflow(prompt=None, context=None):
    told = f"request ({prompt} tokens) exceeds the available context size ({context} tokens)"
    return ContextOverflowError(told if context else "too long")


def counted(tokens, text="an answer"):
    usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
    return AIMessage(text, usage_metadata=usage)


def sizes(fake):
    return [count_message_tokens(messages) for messages in fake.asked]


@pytest.mark.parametrize("references_in", ["system", "user"])
def test_aggregator_is_asked_again_with_less(invoke, model, references_in):
    writer = model(answers=[overflow(4000, 2000), "fine"])
    graph = create_moa([[model(answers=[LONG])] * 2], writer, references_in=references_in).compile()
    answer = invoke(graph, {"messages": "Why?"})["messages"][-1]
    refused, asked = sizes(writer)
    assert 0.5 * refused / 4000 * 1500 < asked <= refused / 4000 * 1500  # a quarter is kept free
    told = answer.response_metadata["moa"]
    assert told["refused_prompt"] == {"prompt_tokens": 4000, "context_tokens": 2000}
    assert told["dropped_reference_chars"] > len(LONG)
    assert writer.asked[1][-1].text.startswith("Why?")


def test_proposer_of_a_later_layer_is_asked_again_with_less(invoke, model):
    reader = model(answers=[overflow(4000, 2000), "fine"])
    graph = create_moa([[model(answers=[LONG])], [reader]], model()).compile()
    proposal = invoke(graph, {"messages": "Why?"})["proposals"]["layer_2_fake"]
    assert proposal["content"] == "fine"
    assert proposal["refused_prompt"] == {"prompt_tokens": 4000, "context_tokens": 2000}
    assert proposal["dropped_reference_chars"] > 1000


@pytest.mark.parametrize("sizes_told", [(None, None), (None, 1500)])
def test_refusal_without_sizes_cuts_by_half_or_more(invoke, model, sizes_told):
    writer = model(answers=[overflow(*sizes_told), "fine"])
    invoke(create_moa([[model(answers=[LONG])]], writer).compile(), {"messages": "Why?"})
    refused, asked = sizes(writer)
    assert refused / 8 < asked < refused / 2


def test_next_call_of_the_model_is_cut_at_once(invoke, model):
    writer = model(answers=[overflow(4000, 2000), "fine"])
    for calls in (2, 3):
        graph = create_moa([[model(answers=[LONG])] * 2], writer).compile()
        invoke(graph, {"messages": "Why?"})
        assert len(writer.asked) == calls
    _, asked, next_asked = sizes(writer)
    assert next_asked == pytest.approx(asked, rel=0.3)


def test_second_refusal_is_the_last(invoke, model):
    writer = model(answers=[overflow(4000, 2000), overflow(3000, 2000)])
    graph = create_moa([[model(answers=[LONG])]], Agent(model=writer, max_input_tokens=9000))
    with pytest.raises(AggregatorError, match=r"\(3000 tokens\).*does not fit: shorten the conv"):
        invoke(graph.compile(), {"messages": "Why?"})
    assert len(writer.asked) == 2


def test_conversation_that_is_too_long_alone_is_not_sent_again(invoke, model):
    proposer = model(answers=[overflow(4000, 2000)])
    with pytest.raises(QuorumError, match=r"\(2000 tokens\); the prompt does not fit: shorten"):
        invoke(create_moa([[proposer]], model()).compile(), {"messages": LONG})
    assert len(proposer.asked) == 1
    writer = model(answers=[overflow(4000, 2000)])
    with pytest.raises(AggregatorError, match="or set `max_input_tokens` to the size"):
        invoke(create_moa([[model()]], writer).compile(), {"messages": LONG})
    assert len(writer.asked) == 1


def test_error_of_a_prompt_that_does_not_fit_goes_to_other_processes():
    error = pickle.loads(pickle.dumps(ContextExceededError("it does not fit")))
    assert type(error) is ContextExceededError
    assert str(error) == "it does not fit"


def test_proposals_that_are_gone_are_told(model):
    """The saver has kept the last checkpoint only."""
    writer = model()
    with SqliteSaver.from_conn_string(":memory:") as saver:
        graph = create_moa([[model()]], writer).compile(saver, interrupt_before=["aggregator"])
        graph.invoke({"messages": "Why?"}, CONFIG)
        saver.conn.execute("DELETE FROM writes")
        with pytest.raises(LookupError) as error:
            graph.invoke(None, CONFIG)
    assert str(error.value).splitlines()[0] == (
        "aggregator: the proposals that it reads are missing; a checkpointer must keep all "
        "checkpoints of a run, not only the last"
    )
    assert not writer.asked


def test_proposer_that_was_asked_once_has_no_refused_prompt(invoke, model):
    layer = {"small": model(answers=[overflow(4000, 2000)]), "large": model()}
    result = invoke(create_moa([layer], model()).compile(), {"messages": LONG})
    proposal = result["proposals"]["layer_1_small"]
    assert "does not fit: shorten the conversation" in proposal["error"]
    assert "refused_prompt" not in proposal


def test_refusal_for_the_room_of_the_answer_names_it(invoke, model):
    refusal = ContextOverflowError(
        "This model's maximum context length is 2000 tokens. However, you requested 2048 output "
        "tokens and your prompt contains at least 500 input tokens"
    )
    writer = Agent(model=model(answers=[refusal]).bind(max_tokens=2048))
    with pytest.raises(AggregatorError, match="does not fit"):
        invoke(create_moa([[model()]], writer).compile(), {"messages": LONG})


@pytest.mark.parametrize(("size", "is_first"), [(500, True), (1, False)])
def test_definitions_of_tools_that_fill_a_context_are_told(invoke, model, size, is_first):
    tools = [{"name": "look", "description": "word " * size, "parameters": {}}]
    writer = model(answers=[overflow(4000, 2000)]).bind(tools=tools)
    question = "Why?" if is_first else LONG
    with pytest.raises(AggregatorError) as caught:
        invoke(create_moa([[model()]], writer).compile(), {"messages": question})
    told = str(caught.value)
    assert "bind fewer tools, whose definitions take about " in told
    assert (told.index("bind fewer tools") < told.index("shorten the conversation")) is is_first


def test_refused_prompt_costs_nothing_and_its_size_is_told(invoke, model):
    writer = model(answers=[overflow(4000, 2000), counted(1000)])
    result = invoke(
        create_moa([[model(answers=[counted(10, LONG)])]], writer).compile(), {"messages": "Why?"}
    )
    told = result["messages"][-1].response_metadata["moa"]
    assert told["refused_prompt"]["prompt_tokens"] == 4000
    assert (told["usage"]["total_tokens"], told["usage_unknown"]) == (1012, [])


def test_estimate_follows_what_a_model_counts(invoke, model):
    reader = Agent(model=model(answers=[counted(3 * 1700), counted(1)]), max_input_tokens=4000)
    before = create_moa([[model()]], reader).compile()
    invoke(before, {"messages": LONG})
    assert sizes(reader.model)[0] == pytest.approx(1700, rel=0.1)
    invoke(create_moa([[model(answers=[LONG])]], reader).compile(), {"messages": "Why?"})
    assert 800 < sizes(reader.model)[1] < 1200  # 3,000 of the 4,000, which are counted thrice


@pytest.mark.parametrize("usage", [counted(0), counted(-5), counted(10**9), AIMessage("fine")])
def test_senseless_counts_teach_nothing(invoke, model, usage):
    reader = Agent(model=model(answers=[usage]), max_input_tokens=4000)
    for _ in range(2):
        invoke(create_moa([[model(answers=[LONG])]], reader).compile(), {"messages": "Why?"})
    first, second = sizes(reader.model)
    assert first == second


def test_resumed_layer_reads_what_the_stopped_one_read(invoke, model):
    """In between, the model has counted so much that a new run would be cut to a third."""
    reader = model(answers=[ValueError("down"), counted(3 * 1700), "fine"])
    agent = Agent(model=reader, max_input_tokens=4000)
    graph = create_moa([[model(answers=[LONG * 3])]], agent).compile(checkpointer=InMemorySaver())
    with pytest.raises(AggregatorError, match="down"):
        invoke(graph, {"messages": "Why?"}, CONFIG)
    invoke(create_moa([[model()]], agent).compile(), {"messages": LONG})
    invoke(graph, None, CONFIG)
    assert reader.asked[2] == reader.asked[0]
    invoke(create_moa([[model(answers=[LONG * 3])]], agent).compile(), {"messages": "Why?"})
    assert sizes(reader)[3] < sizes(reader)[0] / 2


def test_limits_are_no_part_of_what_a_graph_gives(invoke, model):
    agent = Agent(model=model(), max_input_tokens=4000)
    result = invoke(create_moa([[model()]], agent).compile(), {"messages": "Why?"})
    assert result.keys() == {"messages", "proposals"}


def test_refused_prompt_is_no_failure(invoke, model, caplog):
    writer = model(answers=[overflow(4000, 2000), "fine"])
    with caplog.at_level(logging.WARNING):
        invoke(create_moa([[model(answers=[LONG])]], writer).compile(), {"messages": "Why?"})
    assert not caplog.records


TURNS = [
    *[("user", "first " * 300), ("assistant", "one " * 300)],
    *[("user", "second " * 300), ("assistant", "two " * 300)],
    ("user", "third"),
]


def test_old_turns_are_left_out_where_they_do_not_fit_and_stay_in_the_state(invoke, model):
    agents = [Agent(model=model(), max_input_tokens=1500) for _ in range(2)]
    graph = create_moa([[agents[0]]], agents[1], trim_history=True).compile()
    result = invoke(graph, {"messages": [("system", "Be brief."), *TURNS]})
    [proposed], [written] = agents[0].model.asked, agents[1].model.asked
    assert [message.text.split()[0] for message in proposed] == ["Be", "second", "two", "third"]
    assert [message.text.split()[0] for message in written][-1] == "third"
    assert written[0].text.startswith("Be brief.\n\nYou have been provided")
    assert result["proposals"]["layer_1_fake"]["dropped_messages"] == 2
    assert result["messages"][-1].response_metadata["moa"]["dropped_messages"] >= 2
    assert len(result["messages"]) == 7


def test_turns_that_fit_are_not_left_out(invoke, model):
    agents = [Agent(model=model(), max_input_tokens=9000) for _ in range(2)]
    graph = create_moa([[agents[0]]], agents[1], trim_history=True).compile()
    result = invoke(graph, {"messages": TURNS})
    assert len(agents[0].model.asked[0]) == 5
    assert "dropped_messages" not in result["proposals"]["layer_1_fake"]
    assert "dropped_messages" not in result["messages"][-1].response_metadata["moa"]


def test_question_stays_even_if_it_does_not_fit(invoke, model):
    proposer = Agent(model=model(), max_input_tokens=100)
    graph = create_moa([[proposer]], model(), trim_history=True).compile()
    invoke(graph, {"messages": [*TURNS[:-1], ("user", LONG)]})
    [asked] = proposer.model.asked
    assert [message.text for message in asked] == [LONG]


def test_old_turns_are_left_out_after_a_refusal(invoke, model):
    proposer = model(answers=[overflow(2000, 1800), "fine"])
    graph = create_moa([[proposer]], model(), trim_history=True).compile()
    proposal = invoke(graph, {"messages": TURNS})["proposals"]["layer_1_fake"]
    assert proposal["content"] == "fine"
    assert proposal["dropped_messages"] == 2
    assert [message.text.split()[0] for message in proposer.asked[1]] == ["second", "two", "third"]


def test_nothing_is_left_out_unasked(invoke, model):
    proposer = Agent(model=model(), max_input_tokens=1500)
    invoke(create_moa([[proposer]], model()).compile(), {"messages": TURNS})
    assert len(proposer.model.asked[0]) == 5
