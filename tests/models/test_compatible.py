"""What is meant for OpenAI reaches OpenAI alone: not the servers of others."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai.chat_models.base import BaseChatOpenAI

from moa_graph import Agent
from moa_graph.models.adapt import adapt_model
from moa_graph.models.agent import build_model

CUSTOM_HEADERS = "x-team: blue\nauthorization: Bearer sk-of-openai\nopenai-organization: org-custom"
VARIABLES = {
    "OPENAI_API_KEY": "sk-of-openai",
    "OPENAI_ADMIN_KEY": "sk-of-openai-admin",
    "OPENAI_ORG_ID": "org-secret",
    "OPENAI_ORGANIZATION": "org-older",
    "OPENAI_PROJECT_ID": "proj-secret",
    "OPENAI_WEBHOOK_SECRET": "whsec-secret",
    "OPENAI_CUSTOM_HEADERS": CUSTOM_HEADERS,
    "OPENAI_PROXY": "http://127.0.0.1:9",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_BASE": "http://127.0.0.1:9/v1",
    "OPENAI_API_TYPE": "azure",
    "OPENAI_API_VERSION": "2025-01-01",
    "LC_OUTPUT_VERSION": "responses/v1",
}


@pytest.fixture
def openai_environment(monkeypatch):
    """All that the openai client and LangChain read for OpenAI."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def ask(server, invoke):
    """Ask a model at the local server, and give the request as it arrived."""

    def call(model, question="q", **options):
        agent = Agent(model=model, base_url=server.url, max_retries=0, **options)
        invoke(build_model(agent), question)
        return server.calls[-1]

    return call


@pytest.mark.parametrize("model", ["openai:a", "together:a"])
def test_environment_of_openai_stays_here(model, ask, openai_environment):
    call = ask(model)
    told = {name for name in call.headers if name.startswith(("openai-", "x-team"))}
    assert not told
    assert call.headers["authorization"] == "Bearer none"
    assert not any(value in str(call.headers) for value in ("secret", "sk-of", "org-"))


@pytest.mark.parametrize("model", ["openai:a", "together:a"])
def test_own_key_stands_beside_the_environment_of_openai(
    model, ask, openai_environment, monkeypatch
):
    monkeypatch.setenv("VLLM_KEY", "own-key-1")
    assert ask(model, api_key_env="VLLM_KEY").headers["authorization"] == "Bearer own-key-1"


def test_together_itself_is_sent_nothing_of_openai_either(
    server, invoke, openai_environment, monkeypatch
):
    monkeypatch.setenv("TOGETHER_API_KEY", "key-of-together")
    monkeypatch.setenv("TOGETHER_API_BASE", server.url)
    invoke(build_model(Agent(model="together:a/b")), "q")
    headers = server.calls[0].headers
    assert headers["authorization"] == "Bearer key-of-together"
    assert not any(name.startswith(("openai-", "x-team")) for name in headers)


def test_other_providers_upon_the_openai_client_are_sent_nothing_of_openai(
    server, invoke, openai_environment, monkeypatch
):
    class ChatDeepSeek(BaseChatOpenAI):
        """As the package of DeepSeek builds its chat model."""

    package = ModuleType("langchain_deepseek")
    package.ChatDeepSeek = ChatDeepSeek
    package.__spec__ = ModuleSpec("langchain_deepseek", None)
    monkeypatch.setitem(sys.modules, "langchain_deepseek", package)
    monkeypatch.setenv("DEEPSEEK_KEY", "key-of-deepseek")
    for name in ("OPENAI_PROXY", "LC_OUTPUT_VERSION"):  # the package's own affair
        monkeypatch.delenv(name)
    agent = Agent(model="deepseek:a", base_url=server.url, api_key_env="DEEPSEEK_KEY")
    invoke(adapt_model(build_model(agent), hidden=False), "q")
    headers = server.calls[0].headers
    assert headers["authorization"] == "Bearer key-of-deepseek"
    assert not any(name.startswith(("openai-", "x-team")) for name in headers)


def test_openai_itself_is_told_what_the_environment_says(server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-team: blue")
    invoke(build_model(Agent(model="openai:a")), "q")
    headers = server.calls[0].headers
    told = [headers[name] for name in ("openai-organization", "openai-project", "x-team")]
    assert told == ["org-mine", "proj-mine", "blue"]


def test_openai_itself_is_asked_by_its_proxy(server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://openai.invalid/v1")
    monkeypatch.setenv("OPENAI_PROXY", server.url.removesuffix("/v1").replace("//", "//me:pw@"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert invoke(build_model(Agent(model="openai:a")), "q").text == "a on q"
    assert server.calls[0].headers["host"] == "openai.invalid"
    assert server.calls[0].headers["proxy-authorization"] == "Basic bWU6cHc="


@pytest.mark.parametrize("value", ["http://me:pw@ss:x", "127.0.0.1:9", "htp://host:1"])
def test_senseless_proxy_of_openai_is_told_by_name(value, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_PROXY", value)
    with pytest.raises(ValueError, match=r"^OPENAI_PROXY: expected .* 'http://host:8080'$") as told:
        build_model(Agent(model="openai:a"))
    assert "pw" not in str(told.value)
    assert "object at 0x" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "https://eu.api.openai.com/v1", "https://API.openai.com"]
)
def test_address_of_openai_is_openai_itself(url, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    model = build_model(Agent(model="openai:a", base_url=url, max_tokens=5))
    assert model.root_client.organization == "org-mine"
    assert model.extra_body is None


@pytest.mark.parametrize("url", ["https://openai.com.example/v1", "https://xapi.openai.com/v1"])
def test_address_that_looks_like_openai_s_is_of_others(url, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    headers = build_model(Agent(model="openai:a", base_url=url)).root_client.default_headers
    assert "org-mine" not in map(str, headers.values())


NAMES_OF_OPENAI = ["o1-mini", "o3", "gpt-5-mini", "gpt-5-pro", "gpt-5.6-sol", "my-codex", "gpt-6"]


@pytest.mark.parametrize("name", NAMES_OF_OPENAI)
@pytest.mark.parametrize("provider", ["openai", "together"])
def test_name_of_a_model_changes_nothing_that_a_server_is_sent(provider, name, ask):
    question = [SystemMessage("Be brief."), HumanMessage("q")]
    plain = ask(f"{provider}:plain", question, max_tokens=9).body
    named = ask(f"{provider}:{name}", question, max_tokens=9).body
    assert named == plain | {"model": name}
    assert named["messages"][0]["role"] == "system"
    assert "temperature" not in named
    assert ask(f"{provider}:{name}", question, temperature=0.3).body["temperature"] == 0.3
