"""Several answers to one chat request, and answers that the client has begun."""

import itertools

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from openai.lib.streaming.chat import ChatCompletionStreamState

from moa_graph import MoAConfig
from moa_graph.server.prefill import CONTINUE, RepetitionFilter
from moa_graph.server.service import ApiOptions, MixtureService, WriterSettings

ASKED = [{"role": "user", "content": "q"}]
BEGUN = [*ASKED, {"role": "assistant", "content": "The answer is"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def create(client, **options):
    return client.chat.completions.create(**{"model": "mine", "messages": ASKED} | options)


def numbered(words="answer"):
    numbers = itertools.count(1)
    return lambda _: f"{words} {next(numbers)}"


def read_stream(chunks):
    """Give the texts by index, and the chunks."""
    chunks, texts = list(chunks), {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return texts, chunks


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_are_written_from_one_panel(stream, client_of_mine, server):
    server.model("w", reply=numbered())
    answer = create(client_of_mine(), n=3, stream=stream)
    if stream:
        texts, chunks = read_stream(answer)
        assert [c.choices[0].index for c in chunks[:3]] == [0, 1, 2]
        ends = [c.choices[0] for c in chunks if c.choices[0].finish_reason]
        assert sorted((end.index, end.finish_reason) for end in ends) == [
            (index, "stop") for index in range(3)
        ]
    else:
        texts = {choice.index: choice.message.content for choice in answer.choices}
    assert sorted(texts) == [0, 1, 2]
    assert sorted(texts.values()) == ["answer 1", "answer 2", "answer 3"]
    assert len(server.calls_of("a")) == len(server.calls_of("b")) == 1
    assert len(server.calls_of("w")) == 3
    written_from = {str(call.messages) for call in server.calls_of("w")}
    assert len(written_from) == 1
    assert "a on q" in written_from.pop()


def test_answers_of_a_request_are_written_at_the_same_time(client_of_mine, server):
    server.model("w", until=lambda: len(server.calls_of("w")) == 4)
    assert len(create(client_of_mine(), n=4).choices) == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("whose", ["run", "aggregator"])
def test_usage_is_what_all_answers_cost(whose, stream, client_of_mine, server):
    server.model("a", reply="1")
    server.model("b", reply="1")
    server.model("w", reply="two words")
    options = {"stream_options": {"include_usage": True}} if stream else {}
    client = client_of_mine(api=ApiOptions(usage=whose))
    answer = create(client, n=3, stream=stream, **options)
    usage = list(answer)[-1].usage if stream else answer.usage
    of = {"run": "abw", "aggregator": "w"}[whose]
    paid = [call for call in server.calls if call.model in of]
    read = sum(len(str(m["content"]).split()) for call in paid for m in call.messages)
    assert usage.prompt_tokens == read
    assert usage.completion_tokens == sum({"a": 1, "b": 1, "w": 2}[call.model] for call in paid)
    if not stream:
        beside = answer.moa["aggregator_usage" if whose == "run" else "usage"]
        assert beside["completion_tokens"] == {"run": 6, "aggregator": 8}[whose]


@pytest.mark.parametrize("stream", [False, True])
def test_without_proposals_they_are_asked_once_and_the_cause_is_told(
    stream, client_of_mine, server
):
    for model in "ab":
        server.model(model, always=500)
    with pytest.raises(openai.APIError) as caught:
        read_stream(create(client_of_mine(), n=3, stream=stream))
    assert caught.value.code == "quorum_lost"
    assert len(server.calls_of("a")) == len(server.calls_of("b")) == 1


def test_failure_of_one_answer_is_the_failure_of_all_and_its_retry_asks_no_proposer(
    client_of_mine, server
):
    server.model("w", faults=[500])
    client = client_of_mine()
    with pytest.raises(openai.InternalServerError, match="scripted failure 500"):
        create(client, n=2)
    assert len(create(client, n=2).choices) == 2
    assert len(server.calls_of("a")) == 1


def test_each_of_several_calls_of_tools_leads_back_to_the_panel(client_of_mine, server):
    server.model("w", reply=lambda body: "done" if len(body["messages"]) > 2 else {"weather": {}})
    client = client_of_mine()
    choices = create(client, n=2, tools=[WEATHER]).choices
    for choice in choices:
        (call,) = choice.message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        history = [*ASKED, choice.message.model_dump(exclude_none=True), result]
        assert create(client, tools=[WEATHER], messages=history).moa["reused_proposals"] is True
    assert len(server.calls_of("a")) == 1


def test_stream_helper_reads_several_answers(client_of_mine, server):
    server.model("w", reply=numbered())
    state = ChatCompletionStreamState()
    for chunk in create(client_of_mine(), n=2, stream=True):
        state.handle_chunk(chunk)
    choices = state.get_final_completion().choices
    assert sorted(choice.message.content for choice in choices) == ["answer 1", "answer 2"]


@pytest.mark.parametrize(("n", "says"), [(0, "greater than"), (17, "less than or equal to 16")])
def test_number_of_answers_is_bounded(n, says, client_of_mine):
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        create(client_of_mine(), n=n)
    assert caught.value.param == "n"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (" 42.", " 42."),
        ("The answer is 42.", " 42."),
        ("The answers differ.", "The answers differ."),
        ("The answer", "The answer"),
    ],
)
def test_begun_answer_is_continued_and_not_repeated(written, shown, stream, client_of_mine, server):
    server.model("w", reply=written)
    answer = create(client_of_mine(), messages=BEGUN, stream=stream)
    text = read_stream(answer)[0][0] if stream else answer.choices[0].message.content
    assert text.strip() == shown.strip()
    for model in "abw":
        (call,) = server.calls_of(model)
        assert call.messages[-2:] == [BEGUN[-1], {"role": "user", "content": CONTINUE}]


@given(st.text("ab", min_size=1), st.text("ab"), st.lists(st.integers(0, 9)))
def test_streamed_continuation_is_the_whole_one_however_it_is_cut(beginning, text, cuts):
    whole = RepetitionFilter(beginning).filter_answer(AIMessage(text)).text
    repetition, shown = RepetitionFilter(beginning), ""
    for cut in cuts:
        shown += repetition.filter_chunk(AIMessageChunk(content=text[:cut])).text
        text = text[cut:]
    last = AIMessageChunk(content=text, response_metadata={"moa": {"asked": 1}})
    assert shown + repetition.filter_chunk(last).text == whole


def test_empty_answer_at_the_end_is_left_out(client_of_mine, server):
    create(client_of_mine(), messages=[*ASKED, {"role": "assistant", "content": ""}])
    assert server.calls_of("a")[0].messages == ASKED


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ({"content": ""}, "is empty"),
        (
            {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            "calls tools; expected their results",
        ),
    ],
)
def test_conversation_without_anything_to_answer_is_refused(last, says, client_of_mine):
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        create(client_of_mine(), messages=[{"role": "assistant", **last}])
    assert caught.value.code == "nothing_to_answer"


def test_more_than_four_stops_reach_a_server_of_its_own(client_of_mine, server):
    stops = list("abcdefg")
    create(client_of_mine(), stop=stops)
    assert server.calls_of("w")[0].body["stop"] == stops


def test_openai_itself_gets_four_stops_and_the_others_have_no_effect(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    mixture = MoAConfig(name="mine", layers=[["offline:lead"]], aggregator="openai:gpt-4.1")
    service = MixtureService({"mine": mixture})
    served = service.get_model("mine", WriterSettings(stop=tuple("abcde")))
    assert (served.chat_model.aggregator.stop, served.ineffective) == (list("abcd"), ["stop"])
    assert not service.get_model("mine", WriterSettings(stop=tuple("abcd"))).ineffective


def test_parameters_that_clients_send_are_harmless(client_of_mine):
    body = {"thinking": {"type": "enabled"}, "min_p": 0.1, "chat_template_kwargs": {"a": 1}}
    body |= {"repetition_penalty": 1.1, "continue_final_message": True, "n": None}
    assert create(client_of_mine(), messages=BEGUN, extra_body=body).choices
