"""`/v1/models`: contexts of mixtures, and models by themselves."""

import httpx
import pytest
from openai import DefaultHttpxClient, OpenAI
from serving import Serving, memory_store
from waiting import PATIENCE

from moa_graph import MoAConfig
from moa_graph.config.single import SingleModel
from moa_graph.models import served_context
from moa_graph.server import context_lengths

ASKED = [{"role": "user", "content": "q"}]


@pytest.fixture
def serve(local_agent):
    """Serve a mixture `mine` and a model by itself, `titles`."""
    running = []

    def start(a=None, w=None, single=None):
        layers = [{"a": local_agent("a", **a or {})}]
        mixture = MoAConfig(name="mine", layers=layers, aggregator=local_agent("w", **w or {}))
        model = SingleModel(name="titles", aggregator=single or local_agent("s"))
        running.append(Serving(mixture, model, store=memory_store()).__enter__())
        return running[-1]

    yield start
    for each in running:
        each.__exit__()


@pytest.fixture
def client(serve):
    with OpenAI(
        base_url=f"{serve().url}/v1",
        api_key="any",
        http_client=DefaultHttpxClient(verify=False),
        max_retries=0,
    ) as client:
        yield client


def get(serving, path):
    return httpx.get(serving.url + path, timeout=PATIENCE).json()


def contexts(serving):
    """Give the context of each model, which is the same in each shape and at each place."""
    listed = get(serving, "/v1/models")["data"]
    headers = {"anthropic-version": "2023-06-01"}
    infos = httpx.get(f"{serving.url}/v1/models", headers=headers, timeout=PATIENCE).json()["data"]
    assert [each["max_input_tokens"] for each in infos] == [
        each.get("context_length") for each in listed
    ]
    assert listed == [get(serving, f"/v1/models/{each['id']}") for each in listed]
    assert all(each.get("context_length") == each.get("max_model_len") for each in listed)
    return [each.get("context_length") for each in listed]


def test_context_is_the_smallest_that_is_known_of_the_models(serve, monkeypatch):
    given = {"max_input_tokens": 8000}, {"max_input_tokens": 5000}
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    assert contexts(serve(*given, {"model": "openai:gpt-4o-mini"})) == [5000, 128_000]


def test_context_that_nobody_knows_is_not_told(serve):
    assert contexts(serve()) == [None, None]


def test_context_that_a_server_tells_is_asked_for(serve, server, monkeypatch):
    for module in (context_lengths, served_context):
        monkeypatch.setattr(module, "CONTEXT_TIMEOUT_S", PATIENCE)
    server.listed = [
        {"id": "a", "max_model_len": 4096},
        {"id": "w", "meta": {"n_ctx": 2048, "n_ctx_train": 99_999}},
        {"id": "s", "context_length": 1024},
    ]
    assert contexts(serve()) == [2048, 1024]
    assert not server.calls


def test_model_by_itself_is_listed_and_answers_without_a_panel(client, server):
    server.model("s", reply="<think>of it</think>A title")
    assert [model.id for model in client.models.list()] == ["mine", "titles"]
    conversation = [{"role": "system", "content": "Be brief."}, *ASKED]
    whole = client.chat.completions.create(model="titles", messages=conversation, max_tokens=9)
    chunks = list(client.chat.completions.create(model="titles", messages=ASKED, stream=True))
    response = client.responses.create(model="titles", input="q")
    assert whole.choices[0].message.content == response.output_text == "A title"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "A title"
    assert (whole.moa["layers"], whole.moa["asked"], whole.moa["failed"]) == (0, 0, [])
    assert whole.usage.completion_tokens == 3
    assert server.calls[0].body["max_tokens"] == 9
    assert [call.model for call in server.calls] == ["s"] * 3
    assert server.calls[0].messages == conversation


def test_model_by_itself_calls_tools_and_keeps_to_a_form(client, server):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    server.model("s", reply={"look": {"at": "it"}})
    create = client.chat.completions.create
    answer = create(model="titles", messages=ASKED, tools=[tool]).choices[0].message
    server.model("s", reply="{}")
    result = {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "seen"}
    history = [*ASKED, answer.model_dump(exclude_none=True), result]
    create(model="titles", messages=history, response_format={"type": "json_object"})
    assert answer.tool_calls[0].function.name == "look"
    assert server.calls[0].body["tools"] == [tool]
    assert server.calls[1].body["response_format"] == {"type": "json_object"}
    assert [each["role"] for each in server.calls[1].messages] == ["user", "assistant", "tool"]


def test_failure_of_a_model_by_itself_is_told(client, server):
    server.model("s", always=500)
    response = client.chat.completions.with_raw_response
    with pytest.raises(Exception, match=r"no final answer: aggregator: .*failure 500"):
        response.create(model="titles", messages=ASKED)


def test_page_has_mixtures_alone(serve):
    serving = serve()
    shown = get(serving, "/api/mixtures")["mixtures"]
    assert [each["name"] for each in shown] == ["mine"]
    body = {"question": "q", "mixture": "titles"}
    response = httpx.post(f"{serving.url}/api/ask", json=body, timeout=PATIENCE)
    assert response.status_code == 404


def test_mixture_has_layers():
    with pytest.raises(ValueError, match="layers"):
        MoAConfig(name="mine", layers=[], aggregator="offline:lead")
