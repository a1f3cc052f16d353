"""Conversations as agents and providers leave them are read by models of all providers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import Agent, AggregatorError, ChatMoA, create_moa
from moa_graph.prompting.history import portable_history
from moa_graph.prompting.tool_pairs import NO_RESULT, pair_calls_with_results

PICTURE = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
CALL = {"name": "weather", "args": {"city": "Oslo"}, "id": "call_1"}
OTHER_CALL = {"name": "add", "args": {"a": 1}, "id": "call_2"}
RESULT = ToolMessage("rain", tool_call_id="call_1", name="weather")
RESULT_AGAIN = ToolMessage("snow", tool_call_id="call_1", name="weather")

BLOCKS = {
    "anthropic": [
        {"type": "thinking", "thinking": "Let me see.", "signature": "abc"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "text", "text": "It rains.", "citations": [{"type": "char_location"}]},
    ],
    "openai": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "text", "text": "It rains.", "id": "msg_1", "annotations": []},
    ],
    "google_genai": [
        {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
        {"type": "executable_code", "executable_code": "print(1)", "language": 1},
        {"type": "code_execution_result", "code_execution_result": "1", "outcome": 1},
        {"type": "text", "text": "It rains.", "extras": {"signature": "abc"}},
    ],
}


def answer_of(provider, **fields):
    metadata = {"model_provider": provider, "id": "resp_1"}
    return AIMessage(BLOCKS[provider], response_metadata=metadata, **fields)


READERS = {
    "proposer": lambda reader: create_moa([[reader]], FakeModel()),
    "proposer with a system prompt": lambda reader: create_moa(
        [[Agent(model=reader, system="You code.")]], FakeModel()
    ),
    "aggregator": lambda reader: create_moa([[FakeModel()]], reader),
    "aggregator, references of the user": lambda reader: create_moa(
        [[FakeModel()]], reader, references_in="user"
    ),
    "selecting aggregator": lambda reader: create_moa(
        [[FakeModel()]], reader, aggregation="select", fallbacks=[FakeModel(answers=["1"])]
    ),
}


PROPOSERS = ["proposer", "proposer with a system prompt"]


@pytest.fixture(params=READERS)
def read(request, invoke):
    """Give what an agent reads of a conversation."""

    def asked(messages):
        reader = FakeModel()
        invoke(READERS[request.param](reader).compile(), {"messages": messages})
        return reader.asked[0]

    return asked


@pytest.mark.parametrize(
    "before",
    [
        [HumanMessage("hi"), AIMessage("hello"), SystemMessage("Be brief.")],
        [SystemMessage("Be brief."), SystemMessage("Be kind."), HumanMessage("hi"), AIMessage("x")],
        [
            SystemMessage([{"type": "text", "text": "Be kind."}]),
            HumanMessage("hi"),
            SystemMessage("Be brief."),
            AIMessage("hello"),
        ],
    ],
)
def test_system_messages_are_one_in_front(before, read):
    messages = read([*before, HumanMessage("q")])
    assert [message.type for message in messages] == ["system", "human", "ai", "human"]
    for text in (each.text for each in before if each.type == "system"):
        assert text in messages[0].text


@pytest.mark.parametrize("provider", BLOCKS)
def test_an_answer_of_any_provider_is_read_as_its_text(provider, read):
    messages = read([HumanMessage("hi"), answer_of(provider), HumanMessage("q")])
    [answer] = [message for message in messages if message.type == "ai"]
    assert answer.content == "It rains."
    assert "id" not in answer.response_metadata


def test_media_of_an_answer_are_told_of(read):
    picture = AIMessage(["Look: ", PICTURE])
    messages = read([HumanMessage("Draw."), picture, HumanMessage("q")])
    [answer] = [message for message in messages if message.type == "ai"]
    assert answer.content == "Look: \n\n[image]"


def test_pictures_of_the_user_stay(read):
    question = [{"type": "text", "text": "What is this?"}, PICTURE]
    assert PICTURE in read([HumanMessage(question)])[-1].content


@pytest.mark.parametrize("read", PROPOSERS, indirect=True)
def test_calls_and_results_are_read_in_words_by_proposers(read):
    calls = AIMessage("I look.", tool_calls=[CALL])
    result = ToolMessage("rain", tool_call_id="call_1", name="weather")
    messages = read([HumanMessage("hi"), calls, result, HumanMessage("q")])
    assert {message.type for message in messages} <= {"system", "human", "ai"}
    assert not any(m.tool_calls for m in messages if m.type == "ai")
    whole = "\n".join(message.text for message in messages)
    assert "I call weather with" in whole
    assert "rain" in whole


@pytest.mark.parametrize("read", PROPOSERS, indirect=True)
def test_a_call_whose_result_is_missing_is_read_in_words(read):
    messages = read([HumanMessage("hi"), AIMessage("", tool_calls=[CALL]), HumanMessage("q")])
    assert not any(m.tool_calls for m in messages if m.type == "ai")


@pytest.mark.parametrize(
    ("between", "read_types", "words"),
    [
        ([AIMessage("", tool_calls=[CALL])], ["ai", "tool"], NO_RESULT),
        ([AIMessage("", tool_calls=[CALL, OTHER_CALL]), RESULT], ["ai", "tool", "tool"], NO_RESULT),
        (
            [AIMessage("", invalid_tool_calls=[{**CALL, "args": "{", "error": "no JSON"}])],
            ["ai", "tool"],
            NO_RESULT,
        ),
        ([RESULT], ["human"], "rain"),
        ([AIMessage("", tool_calls=[CALL]), RESULT, RESULT_AGAIN], ["ai", "tool", "human"], "snow"),
        (
            [AIMessage("", tool_calls=[CALL]), HumanMessage("Well?"), RESULT],
            ["ai", "tool", "human"],
            "rain",
        ),
    ],
)
def test_a_writer_reads_a_result_behind_each_call_and_none_elsewhere(
    between, read_types, words, invoke
):
    writer = FakeModel()
    history = [HumanMessage("hi"), *between, HumanMessage("q")]
    invoke(create_moa([[FakeModel()]], writer).compile(), {"messages": history})
    messages = writer.asked[0]
    assert [each.type for each in messages] == ["system", "human", *read_types, "human"]
    assert words in "\n".join(each.text for each in messages[2:-1])


def test_results_behind_their_calls_stay_as_they_are():
    again = AIMessage("", tool_calls=[CALL])  # some providers count calls anew in each turn
    calls = AIMessage("", tool_calls=[CALL, OTHER_CALL])
    history = [calls, RESULT, ToolMessage("4", tool_call_id="call_2"), again, RESULT_AGAIN]
    assert pair_calls_with_results(history) is history


def test_the_conversation_of_the_thread_stays_as_it_is(invoke):
    before = [SystemMessage("a"), answer_of("openai"), SystemMessage("b"), HumanMessage("q")]
    given = [message.model_copy(deep=True) for message in before]
    result = invoke(create_moa([[FakeModel()]], FakeModel()).compile(), {"messages": before})
    kept = [message.model_copy(update={"id": None}) for message in result["messages"][:-1]]
    assert kept == given


def test_an_ordinary_conversation_is_not_copied():
    ordinary = [SystemMessage("s"), HumanMessage([PICTURE]), AIMessage("a"), HumanMessage("q")]
    assert portable_history(ordinary) is ordinary


@pytest.mark.parametrize(
    ("writer", "reader", "keeps"),
    [
        ("anthropic", "anthropic", True),
        ("openai", "openai", True),
        ("anthropic", "openai", False),
        ("openai", "google_genai", False),
        ("google_genai", None, True),
        ("openai", "a_package_of_somebody", True),
    ],
)
def test_a_call_keeps_its_blocks_unless_another_provider_reads_it(writer, reader, keeps):
    call = answer_of(writer, tool_calls=[CALL])
    result = ToolMessage("rain", tool_call_id="call_1")
    [read_call, read_result] = portable_history([call, result], reader)
    assert read_call.content == (BLOCKS[writer] if keeps else "It rains.")
    assert [each["id"] for each in read_call.tool_calls] == ["call_1"]
    assert "id" not in read_call.response_metadata
    assert read_result is result


def test_the_writer_of_an_agent_reads_its_calls_as_they_are(server, invoke):
    server.model("w", reply="done")
    moa = ChatMoA([[FakeModel()]], Agent(model="openai:w", base_url=server.url))
    calls = AIMessage("", tool_calls=[CALL])
    history = [HumanMessage("hi"), calls, ToolMessage("rain", tool_call_id="call_1")]
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    invoke(moa.bind_tools([tool]), history)
    assert [m["role"] for m in server.calls[-1].messages] == ["system", "user", "assistant", "tool"]
    server.calls.clear()
    invoke(moa, history)  # such as a summary, for which no tools are bound
    assert [m["role"] for m in server.calls[-1].messages] == ["system", "user", "assistant", "tool"]


class ResponsesHandler(BaseHTTPRequestHandler):
    """Answers OpenAI's responses, each under an id by which it could be gone on from."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        number = len(self.server.requests)
        text = {"type": "output_text", "text": f"answer {number}", "annotations": []}
        message = {"type": "message", "id": f"msg_{number}", "role": "assistant"}
        answer = {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": body["model"],
            "tools": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "output": [{**message, "status": "completed", "content": [text]}],
        }
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def responses():
    with ThreadingHTTPServer(("127.0.0.1", 0), ResponsesHandler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server
        server.shutdown()


def test_no_agent_goes_on_from_a_response_that_its_provider_keeps(responses, invoke):
    def model(name):
        url = f"http://127.0.0.1:{responses.server_port}/v1"
        return ChatOpenAI(model=name, base_url=url, api_key="x", use_previous_response_id=True)

    moa = create_moa([[model("a")]], model("w")).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    for question in ("one", "two"):
        invoke(moa, {"messages": question}, config)
    proposer, aggregator = responses.requests[2:]
    assert not {"previous_response_id"} & {*proposer, *aggregator}
    assert [item["role"] for item in proposer["input"]] == ["user", "assistant", "user"]
    assert [item["role"] for item in aggregator["input"]][1:] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    "block",
    [
        PICTURE,
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "audio", "base64": "aGk=", "mime_type": "audio/wav"},
        {"type": "file", "file_id": "f1"},
    ],
)
def test_an_answer_without_text_that_holds_media_is_an_answer(block, invoke):
    writer = FakeModel(answers=[AIMessage([block]), "a second answer"])
    graph = create_moa([[FakeModel()]], writer).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    assert invoke(graph, {"messages": "Draw."}, config)["messages"][-1].content == [block]
    assert invoke(graph, {"messages": "Thanks."}, config)["messages"][-1].text == "a second answer"
    moa = ChatMoA([[FakeModel()]], FakeModel(answers=[AIMessage([block])]))
    assert invoke(moa, "Draw.").content == [block]


def test_an_answer_of_thoughts_alone_is_empty(invoke):
    writer = FakeModel(answers=[AIMessage([{"type": "thinking", "thinking": "Hm."}])])
    with pytest.raises(AggregatorError, match="empty answer"):
        invoke(create_moa([[FakeModel()]], writer).compile(), {"messages": "q"})
