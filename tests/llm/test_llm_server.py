"""The server of these tests refuses what it is there to refuse, and says so as llama.cpp does."""

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from llama_server import OWN
from token_samples import SAMPLES

pytestmark = pytest.mark.llm

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be brief."}
NO_SYSTEM, ALTERNATE = "System role not supported", "Conversation roles must alternate"


def ask(llama, method, path, body=None):
    connection = HTTPConnection(urlsplit(llama.url).netloc)
    connection.request(method, path, body and json.dumps(body))
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    return answer.status, told


def complete(llama, messages):
    body = {"model": "a", "messages": messages, "max_tokens": 1}
    return ask(llama, "POST", "/v1/chat/completions", body)


@pytest.mark.parametrize(
    ("template", "refusals"),
    [
        ("own", {}),
        ("gemma", {"late system": ALTERNATE, "two users": ALTERNATE}),
        ("no_system", {"system": NO_SYSTEM, "late system": NO_SYSTEM}),
        ("alternating", {"system": NO_SYSTEM, "late system": NO_SYSTEM, "two users": ALTERNATE}),
    ],
)
def test_templates_refuse_what_they_say(llama, refusals):
    conversations = {
        "user": [USER],
        "in turns": [USER, ASSISTANT, USER],
        "system": [SYSTEM, USER],
        "late system": [USER, ASSISTANT, SYSTEM, USER],
        "two users": [USER, USER],
    }
    for name, messages in conversations.items():
        status, told = complete(llama, messages)
        assert status == (400 if name in refusals else 200), name
        assert refusals.get(name, "usage") in str(told)


@pytest.mark.parametrize("context", [1024, 4096])
def test_context_is_told_and_kept(llama, context):
    _, models = ask(llama, "GET", "/v1/models")
    assert models["data"][0]["meta"]["n_ctx"] == context
    status, told = complete(llama, [{"role": "user", "content": "word " * context}])
    assert status == 400
    error = told["error"]
    assert (error["type"], error["n_ctx"]) == ("exceed_context_size_error", context)
    assert error["n_prompt_tokens"] > context


def test_tokens_of_samples_are_those_that_are_recorded(llama_servers):
    connection = HTTPConnection(urlsplit(llama_servers(OWN, 1024).url).netloc)
    for kind, sample in SAMPLES.items():
        body = json.dumps({"content": sample.text})
        connection.request("POST", "/tokenize", body, {"content-type": "application/json"})
        tokens = json.loads(connection.getresponse().read())["tokens"]
        assert len(tokens) == sample.tokens, kind
    connection.close()
