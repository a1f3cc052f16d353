"""What servers say of the context of a model, and what becomes of a run where they do not."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from waiting import PATIENCE

from moa_graph import Agent, create_moa
from moa_graph.models import served_context
from moa_graph.models.traits import traits_of

LONG = "sky " * 4000
LLAMA_CPP = {"data": [{"id": "some.gguf", "meta": {"n_ctx": 900, "n_ctx_train": 8192}}]}
VLLM = {"data": [{"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": 901}]}
GROQ = {"data": [{"id": "m", "context_window": 902}]}
OLLAMA = {"data": [{"id": "m:latest", "owned_by": "library"}]}
CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}
    ],
}


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr(served_context, "CONTEXT_TIMEOUT_S", PATIENCE)


class Handler(BaseHTTPRequestHandler):
    """Answers what the server was told to, by path; 404 for the rest."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.requests.append((self.path, body, self.headers.get("authorization")))
        answer = self.server.answers.get(self.path)
        if callable(answer):
            answer = answer()
        data = answer if isinstance(answer, bytes) else json.dumps(answer or {}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def serving(answers):
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads, http.block_on_close = True, False
    http.answers, http.requests = {"/v1/chat/completions": CHAT, **answers}, []
    http.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield http
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def ask(invoke, model, http, **options):
    """Ask a mixture whose aggregator the server has; give the agent and the run's summary."""
    agent = Agent(model="openai:m", base_url=http.url, **options)
    result = invoke(create_moa([[model(answers=[LONG])]], agent).compile(), {"messages": "Why?"})
    return agent, result["messages"][-1].response_metadata["moa"]


def paths(http):
    return [path for path, *_ in http.requests if path != "/v1/chat/completions"]


@pytest.mark.parametrize(
    ("answers", "context"),
    [
        ({"/v1/models": LLAMA_CPP}, 900),
        ({"/v1/models": VLLM}, 901),
        ({"/v1/models": GROQ}, 902),
        (
            {
                "/v1/models": OLLAMA,
                "/api/ps": {"models": [{"name": "m:latest", "context_length": 903}]},
            },
            903,
        ),
        (
            {
                "/v1/models": OLLAMA,
                "/api/ps": {"models": []},
                "/api/show": {
                    "parameters": "stop x\nnum_ctx 904",
                    "model_info": {"l.context_length": 9},
                },
            },
            904,
        ),
        (
            {
                "/v1/models": OLLAMA,
                "/api/ps": {"models": []},
                "/api/show": {"model_info": {"llama.context_length": 905, "llama.block_count": 1}},
            },
            905,
        ),
    ],
)
def test_references_are_cut_to_the_context_that_a_server_says(invoke, model, answers, context):
    with serving(answers) as http:
        for _ in range(2):
            agent, summary = ask(invoke, model, http)
            assert summary["dropped_reference_chars"] > 0.6 * len(LONG)
            assert "refused_prompt" not in summary
        assert traits_of(agent).context_tokens == context
        assert len(paths(http)) == len(set(paths(http)))  # each is asked once


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"<html>",
        [],
        {"data": None},
        {"data": [{"id": "m", "max_model_len": "9"}]},
        {"data": [7]},
    ],
)
def test_server_that_does_not_say_changes_nothing(invoke, model, answer, caplog):
    with serving({"/v1/models": answer}) as http:
        agent, summary = ask(invoke, model, http)
        assert summary["dropped_reference_chars"] == 0
        assert traits_of(agent).context_tokens is None
        assert paths(http) == ["/v1/models"]
    assert not caplog.records


def test_server_that_does_not_answer_does_not_stop_a_run(invoke, model, monkeypatch):
    monkeypatch.setattr(served_context, "CONTEXT_TIMEOUT_S", 0.05)
    released = threading.Event()

    def hang():
        released.wait()
        return LLAMA_CPP

    with serving({"/v1/models": hang}) as http:
        try:
            _, summary = ask(invoke, model, http)
        finally:
            released.set()
        assert summary["dropped_reference_chars"] == 0


def test_key_goes_to_the_server_and_nowhere_else(invoke, model, monkeypatch, caplog):
    monkeypatch.setenv("VLLM_API_KEY", "secret-of-mine")
    with serving({"/v1/models": VLLM}) as http, caplog.at_level("DEBUG"):
        ask(invoke, model, http, api_key_env="VLLM_API_KEY")
        [sent] = [key for path, _, key in http.requests if path == "/v1/models"]
        assert sent == "Bearer secret-of-mine"
        assert "secret-of-mine" not in caplog.text
        http.requests.clear()
    with serving({"/v1/models": VLLM}) as http:
        ask(invoke, model, http)
        assert [key for path, _, key in http.requests if path == "/v1/models"] == [None]


def test_size_that_an_agent_was_given_is_not_asked_for(invoke, model):
    with serving({"/v1/models": VLLM}) as http:
        ask(invoke, model, http, max_input_tokens=3000)
        assert paths(http) == []
