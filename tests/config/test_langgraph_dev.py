"""The graphs under LangGraph's own server: `langgraph dev`, its SDK, and `RemoteGraph`."""

import re
import shutil
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from dev_server import DevServer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import BadRequestError
from server import ChatServer

from moa_graph import create_moa
from moa_graph.config.model import preset_names

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deploying.md").read_text(encoding="utf-8")
QUESTION = """What does the river carry?

The river rises in the hills. In spring it carries timber. Nobody remembers the bridge."""
ANSWER = "The river rises in the hills."
ASK = {"messages": [{"role": "user", "content": QUESTION}]}
LAYER_AGGREGATOR = "layer_1_aggregator"
PROTOCOL = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


@pytest.fixture(scope="module")
def chat():
    """The provider: an OpenAI-compatible server."""
    with ChatServer() as running:
        yield running


@pytest.fixture(scope="module")
def url(chat, tmp_path_factory):
    """The address of the server; it is started by the command of the documentation."""
    (command,) = re.findall(r"^\$ (.* langgraph dev .*)$", PAGE, re.MULTILINE)
    keys = {"OPENAI_API_KEY": "sk-local", "OPENAI_API_BASE": chat.url}
    with DevServer(command, tmp_path_factory.mktemp("dev"), keys) as running:
        yield running.url


@pytest.fixture
def client(url):
    with get_sync_client(url=url) as client:
        yield client


@pytest.fixture
def thread(client):
    return client.threads.create()["thread_id"]


def text(values):
    return values["messages"][-1]["content"]


def configured(client, graph, **settings):
    config = {"configurable": settings}
    return client.assistants.create(graph, config=config)["assistant_id"]


def answers_of(*names):
    """Have all of these, in the second layer, say the same."""
    return {f"layer_2_{name}": {"content": "It carries salt."} for name in names}


def test_every_preset_is_an_assistant(client):
    found = client.assistants.search(limit=100, metadata={"created_by": "system"})
    names = {each["name"] for each in found}
    assert sorted(names - {"ask-panel", "ask-offline"}) == preset_names()


def ask_over_mcp(url, method, **params):
    """Send a request to the server's MCP endpoint, and give the result."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"accept": "application/json"}
    return httpx.post(f"{url}/mcp", json=request, headers=headers, timeout=60).json()["result"]


def test_mcp_endpoint_lists_a_tool_with_one_text_as_its_input(url):
    tools = {each["name"]: each for each in ask_over_mcp(url, "tools/list")["tools"]}
    assert tools["ask-offline"]["description"].startswith("Ask extractive agents")
    fields = tools["ask-offline"]["inputSchema"]["properties"]
    assert {name: field["type"] for name, field in fields.items()} == {"messages": "string"}


def test_mcp_endpoint_gives_the_answer_alone(url):
    for _ in range(2):
        arguments = {"messages": QUESTION}
        result = ask_over_mcp(url, "tools/call", name="ask-offline", arguments=arguments)
        (content,) = result["content"]
        assert content["text"] == repr({"answer": ANSWER})


def test_graph_of_the_answer_alone_asks_anew_on_the_same_thread(client, thread):
    assert client.runs.wait(thread, "ask-offline", input=ASK) == {"answer": ANSWER}
    again = {"messages": "What does the cook have? The cook has a spoon."}
    answer = client.runs.wait(thread, "ask-offline", input=again)["answer"]
    assert answer.endswith("The cook has a spoon.")
    values = client.threads.get_state(thread)["values"]
    assert [message["type"] for message in values["messages"]] == ["human", "ai"] * 2


def test_stream_shows_tasks_proposals_and_the_tokens_of_the_answer(client):
    modes = ["messages-tuple", "updates", "tasks"]
    parts = list(client.runs.stream(None, "offline", input=ASK, stream_mode=modes))
    updates = [node for part in parts if part.event == "updates" for node in part.data]
    began = [p.data["name"] for p in parts if p.event == "tasks" and "input" in p.data]
    tokens = [p.data for p in parts if p.event == "messages"]
    assert "error" not in {part.event for part in parts}
    assert sorted(updates) == sorted(began)
    assert updates[6] == LAYER_AGGREGATOR
    assert updates[13:] == ["layer_2_aggregator", "aggregator"]
    assert {metadata["langgraph_node"] for _, metadata in tokens} == {"aggregator"}
    answer = next(p.data["aggregator"] for p in reversed(parts) if p.event == "updates")
    assert "".join(chunk["content"] for chunk, _ in tokens) == text(answer)
    assert len(tokens) > 3


MODES = [
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "tasks",
    "checkpoints",
    "debug",
    "events",
]


@pytest.mark.parametrize("mode", MODES)
def test_each_stream_mode_answers(mode, client, thread):
    parts = list(client.runs.stream(thread, "offline", input=ASK, stream_mode=mode))
    kinds = {part.event.partition("/")[0] for part in parts} - {"metadata"}
    assert kinds == {mode.removesuffix("-tuple")}
    assert text(client.threads.get_state(thread)["values"]) == ANSWER


def test_all_stream_modes_answer_at_once(client, thread):
    modes = [*MODES, "custom"]
    parts = list(client.runs.stream(thread, "offline", input=ASK, stream_mode=modes))
    kinds = {part.event.partition("/")[0] for part in parts} - {"metadata"}
    assert kinds == {*MODES} - {"messages-tuple"}


def test_events_name_the_nodes_and_show_the_tokens_of_the_answer(client, chat):
    chat.model("down", always=400)
    settings = {"models": ["openai:up", "openai:down"], "aggregator": "openai:z"}
    assistant = configured(client, "openai", **settings)
    parts = list(client.runs.stream(None, assistant, input=ASK, stream_mode="events"))
    told = [part.data for part in parts if part.event == "events"]
    assert "error" not in {part.event for part in parts}
    nodes = ["layer_1_up", "layer_1_down", LAYER_AGGREGATOR, "aggregator"]
    began = [event["name"] for event in told if event["event"] == "on_chain_start"]
    assert sorted(set(nodes) & set(began)) == sorted(each for each in began if each in nodes)
    ended = [e["metadata"]["moa_agent"] for e in told if e["event"] == "on_chat_model_end"]
    assert ended == ["layer_1_up", "aggregator"]
    tokens = [event for event in told if event["event"] == "on_chat_model_stream"]
    assert {event["metadata"]["moa_agent"] for event in tokens} == {"aggregator"}
    answer = "".join(event["data"]["chunk"]["content"] for event in tokens)
    assert answer.startswith("z on What does")


def test_proposals_are_reviewed_before_a_hub(client, thread):
    client.runs.wait(thread, "offline", input=ASK, interrupt_before=[LAYER_AGGREGATOR])
    state = client.threads.get_state(thread)
    assert state["next"] == [LAYER_AGGREGATOR]
    assert len(state["values"]["proposals"]) == 6

    edits = {"layer_1_lead": {"content": "It carries gold."}, "layer_1_bm25": None}
    client.threads.update_state(thread, {"proposals": edits}, as_node="layer_1_lead")
    state = client.threads.get_state(thread)
    assert state["next"] == [LAYER_AGGREGATOR]
    assert state["values"]["proposals"]["layer_1_lead"]["content"] == "It carries gold."
    assert "layer_1_bm25" not in state["values"]["proposals"]

    values = client.runs.wait(thread, "offline", input=None)
    assert client.threads.get_state(thread)["next"] == []
    assert [message["type"] for message in values["messages"]] == ["human", "ai"]
    assert values["messages"][1]["response_metadata"]["moa"]["answered"] == 11


def test_past_checkpoint_is_forked(client, thread):
    first = client.runs.wait(thread, "offline", input=ASK)
    history = client.threads.get_history(thread, limit=20)
    past = next(each for each in history if each["next"] == ["layer_2_aggregator"])
    edits = answers_of("lead", "bm25", "centroid", "textrank", "mmr", "ngram")
    fork = client.threads.update_state(
        thread, {"proposals": edits}, as_node="layer_2_lead", checkpoint=past["checkpoint"]
    )
    second = client.runs.wait(thread, "offline", input=None, checkpoint=fork["checkpoint"])
    assert text(second) == "It carries salt."
    assert text(first) != text(second)
    assert len(second["messages"]) == 2


@pytest.mark.parametrize("kind", ["config_schema", "context_schema"])
def test_schema_says_what_an_assistant_may_configure(kind, client):
    assistant = client.assistants.search(graph_id="moa-lite")[0]["assistant_id"]
    fields = client.assistants.get_schemas(assistant)[kind]["properties"]
    assert {name: field["type"] for name, field in fields.items()} == {
        "preset": "string",
        "models": "array",
        "aggregator": "string",
        "temperature": "number",
        "samples": "integer",
    }
    assert fields["preset"]["enum"] == preset_names()
    assert {name: field["default"] for name, field in fields.items()} == {
        "preset": "moa-lite",
        **dict.fromkeys(["models", "aggregator", "temperature", "samples"]),
    }
    assert all(field["description"].endswith(".") for field in fields.values())
    assert fields["models"]["items"] == {"type": "string"}
    assert (fields["temperature"]["minimum"], fields["temperature"]["maximum"]) == (0, 2)
    assert fields["aggregator"]["langgraph_nodes"] == ["aggregator"]


def test_assistant_asks_the_models_it_is_configured_with(client, chat):
    settings = {"models": ["openai:x", "openai:y"], "aggregator": "openai:z", "samples": 2}
    assistant = configured(client, "openai", **settings, temperature=0.3)
    chat.calls.clear()
    values = client.runs.wait(None, assistant, input=ASK)
    assert sorted(call.model for call in chat.calls) == ["x", "x", "y", "y", "z"]
    assert {call.body["temperature"] for call in chat.calls} == {0.3}
    assert text(values).startswith("z on What does")
    nodes = ["layer_1_x", "layer_1_x_2", "layer_1_y", "layer_1_y_2"]
    assert sorted(values["proposals"]) == nodes

    drawn = client.assistants.get_graph(assistant, xray=True)
    models = {node["id"]: node.get("metadata", {}).get("model") for node in drawn["nodes"]}
    assert list(models) == ["__start__", *nodes, LAYER_AGGREGATOR, "aggregator", "__end__"]
    assert models["layer_1_y_2"] == "openai:y"
    assert len(drawn["edges"]) == 10


def test_assistant_is_configured_by_its_context_too(client):
    settings = {"preset": "offline", "models": ["lead"], "temperature": None, "aggregator": ""}
    assistant = client.assistants.create("moa", context=settings)["assistant_id"]
    values = client.runs.wait(None, assistant, input=ASK)
    assert list(values["proposals"]) == ["layer_1_lead", "layer_2_lead"]
    assert text(values) == ANSWER


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "x"}, "preset: no preset 'x'; expected one of: economical, moa, "),
        ({"temperature": 9}, "temperature: expected a number less than or equal to 2, got 9"),
        ({"models": ["lead", "gpt"]}, "models[1]: expected 'provider:model' or one of lead, "),
        ({"models": "offline:lead"}, "models: expected a list, got 'offline:lead'"),
        ({"aggregator": "gpt"}, "aggregator: expected 'provider:model' or one of lead, bm25, "),
        ({"samples": "two"}, "samples: expected an integer, got 'two'"),
    ],
)
def test_bad_value_is_an_error_that_names_the_field(settings, message, client):
    assistant = configured(client, "offline", **settings)
    with pytest.raises(BadRequestError) as error:
        client.assistants.get_graph(assistant)
    assert message in str(error.value)


def test_run_with_a_bad_value_is_an_error_that_names_the_field(client):
    config = {"configurable": {"temperature": 9}}
    parts = list(client.runs.stream(None, "offline", input=ASK, config=config))
    message = "temperature: expected a number less than or equal to 2, got 9"
    assert parts[-1].event == "error"
    assert parts[-1].data == {"error": "ValueError", "message": message}


def test_missing_key_is_an_error_that_names_it(client):
    with pytest.raises(Exception, match="set the environment variable TOGETHER_API_KEY"):
        client.runs.wait(None, "moa-lite", input=ASK)


def test_lost_layer_is_told_and_only_who_failed_is_asked_again(client, chat, thread):
    chat.model("down", faults=[400])
    settings = {"models": ["openai:up", "openai:down"], "aggregator": "openai:z"}
    assistant = configured(client, "openai", **settings)
    chat.calls.clear()
    chat.model("up", faults=[400])
    with pytest.raises(Exception, match="QuorumError"):  # the server tells of the type alone
        client.runs.wait(thread, assistant, input=ASK)
    proposals = client.threads.get_state(thread)["values"]["proposals"]
    assert all("400" in proposals[f"layer_1_{name}"]["error"] for name in ("up", "down"))
    values = client.runs.wait(thread, assistant, input=None)
    assert [len(chat.calls_of(model)) for model in ("up", "down", "z")] == [2, 2, 1]
    assert text(values).startswith("z on What does")


def test_thread_goes_on_under_another_configuration(client, thread):
    two = configured(client, "offline", models=["lead", "bm25"])
    client.runs.wait(thread, two, input=ASK, interrupt_before=[LAYER_AGGREGATOR])
    other = {"configurable": {"models": ["bm25", "mmr"], "aggregator": "offline:lead"}}
    values = client.runs.wait(thread, two, input=None, config=other)
    assert sorted(values["proposals"]) == [
        *("layer_1_bm25", "layer_1_lead"),
        *("layer_2_bm25", "layer_2_mmr"),
    ]
    values = client.runs.wait(thread, two, input=ASK)
    assert len(values["messages"]) == 4
    assert len(values["proposals"]) == 4


def test_documentation_says_how_it_is_used(url, tmp_path, capsys):
    used, deployed = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(used.replace("http://127.0.0.1:2024", url), scope := {})
    scope["client"].close()
    assert "The gardener has the key." in capsys.readouterr().out
    nodes = ["layer_1_bm25", "layer_2_bm25", "layer_2_lead"]
    assert sorted(scope["result"]["proposals"]) == nodes

    shutil.copy(ROOT / "moa_graph/config/presets/offline.toml", tmp_path / "mixture.toml")
    exec(deployed, scope := {"__file__": str(tmp_path / "mixture.py")})
    assert scope["graph"]().name == "offline"


class TestRemoteGraph:
    """The server's graph as a runnable of another process."""

    @pytest.fixture
    def remote(self, client):
        return RemoteGraph("offline", sync_client=client)

    @pytest.fixture
    async def aremote(self, url):
        async with get_client(url=url) as client:
            yield RemoteGraph("offline", client=client)

    async def test_it_is_a_node_of_a_host(self, aremote):
        chosen = aremote.with_config({"configurable": {"models": ["lead"]}})
        config = {"configurable": {"thread_id": str(uuid4())}}
        question, answer = (await host_of(chosen).ainvoke(ASK, config))["messages"]
        assert question.text == QUESTION
        assert answer.text in QUESTION
        assert answer.response_metadata["moa"]["answered"] == 2

    def test_it_is_a_proposer(self, remote):
        moa = create_moa([{"far": remote, "lead": "offline:lead"}], "offline:consensus").compile()
        proposal = moa.invoke(ASK)["proposals"]["layer_1_far"]
        assert proposal["error"] is None
        assert proposal["content"] in QUESTION
        assert proposal["usage"]["total_tokens"] > 0

    def test_host_streams_its_tokens(self, remote):
        modes = ["messages", "updates"]
        config = {"configurable": {"thread_id": str(uuid4())}}
        parts = list(host_of(remote).stream(ASK, config, stream_mode=modes, subgraphs=True))
        tokens = [data[0]["content"] for _, mode, data in parts if mode == "messages"]
        *_, (namespace, _, last) = parts
        assert namespace == ()
        assert "".join(tokens) == text(last["moa"])

    @PROTOCOL
    def test_protocol_shows_the_aggregator_s_message_alone(self, remote, thread):
        config = {"configurable": {"thread_id": thread}}
        with remote.stream_events(ASK, config, version="v3") as stream:
            [message] = stream.messages
            assert str(message.text) == ANSWER
            [block] = text(stream.output)
        assert block["text"] == ANSWER

    @PROTOCOL
    async def test_protocol_shows_it_on_an_event_loop(self, aremote, thread):
        config = {"configurable": {"thread_id": thread}}
        async with await aremote.astream_events(ASK, config, version="v3") as stream:
            [message] = [message async for message in stream.messages]
            assert await message.text == ANSWER
            [block] = text(await stream.output())
        assert block["text"] == ANSWER

    def test_it_is_stopped_edited_resumed_and_forked(self, remote, thread):
        config = {"configurable": {"thread_id": thread}}
        remote.invoke(ASK, config, interrupt_before=["layer_2_aggregator"])
        assert remote.get_state(config).next == ("layer_2_aggregator",)
        edits = answers_of("lead", "bm25", "centroid", "textrank", "mmr", "ngram")
        remote.update_state(config, {"proposals": edits}, as_node="layer_2_lead")
        assert text(remote.invoke(None, config)) == "It carries salt."

        past = next(s for s in remote.get_state_history(config) if s.next == (LAYER_AGGREGATOR,))
        edits = {"layer_1_lead": None}
        fork = remote.update_state(past.config, {"proposals": edits}, as_node="layer_1_mmr")
        values = remote.invoke(None, fork)
        assert text(values) != "It carries salt."
        assert len(values["proposals"]) == 11

    def test_it_is_drawn(self, remote):
        assert len(remote.get_graph(xray=True).nodes) == 17


def host_of(remote):
    builder = StateGraph(MessagesState)
    builder.add_node("moa", remote)
    builder.add_edge(START, "moa")
    return builder.compile(checkpointer=InMemorySaver())
