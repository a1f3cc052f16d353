"""Providers: those of other packages, the example of the documentation among them, and options."""

import re
import sys
from dataclasses import fields
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from packages import EXAMPLES, add_package, install_example
from pydantic import Field

from moa_graph import Agent, MoAConfig, create_moa
from moa_graph.models.adapt import supports_response_format
from moa_graph.models.agent import build_model
from moa_graph.models.pricing import estimate_cost, is_free_model
from moa_graph.models.providers import ENTRY_POINT_GROUP, MODEL_OPTIONS, Provider


@pytest.fixture
def gateway(monkeypatch, tmp_path, server):
    """Install the example; its gateway is the local server."""
    install_example(monkeypatch, tmp_path / "site", "provider")
    monkeypatch.setenv("GATEWAY_URL", server.url)
    monkeypatch.setenv("GATEWAY_API_KEY", "gw-key")
    yield server
    sys.modules.pop("moa_gateway", None)


@pytest.fixture
def added(monkeypatch, tmp_path):
    """Add a provider under its name, from a module of the test's own."""

    def add(provider):
        module = ModuleType(f"provider_{uuid4().hex}")
        module.IT = provider
        monkeypatch.setitem(sys.modules, module.__name__, module)
        site = tmp_path / module.__name__
        add_package(monkeypatch, site, ENTRY_POINT_GROUP, {provider.name: f"{module.__name__}:IT"})
        return provider

    return add


class EchoModel(BaseChatModel):
    """A chat model of a package of its own, with few options."""

    name_of_model: str = Field(alias="model")
    num_predict: int | None = None
    temperature: float | None = None
    stop_words: list[str] | None = Field(default=None, alias="stop")
    model_kwargs: dict[str, Any] = Field(default_factory=dict)

    def __init__(self, **given):
        """Send what it does not know to the server, as some do."""
        known = {"model", "stop", *type(self).model_fields}
        unknown = {key: given.pop(key) for key in given.keys() - known}
        super().__init__(**given, model_kwargs=unknown)

    @property
    def _llm_type(self):
        return "echo"

    def _generate(self, messages, stop=None, run_manager=None, **_):
        answer = AIMessage(f"{self.name_of_model} {self.model_kwargs}")
        return ChatResult(generations=[ChatGeneration(message=answer)])


def test_models_of_an_added_provider_are_asked(gateway, invoke, monkeypatch):
    monkeypatch.setenv("GATEWAY_TEAM", "physics")
    agent = Agent(model="gateway:gpt-4o", temperature=0.3, max_retries=0)
    answer = invoke(create_moa([[agent] * 2], agent).compile(), {"messages": "q"})
    assert answer["messages"][-1].text.startswith("gpt-4o on")
    assert len(gateway.calls) == 3
    for call in gateway.calls:
        assert call.headers["authorization"] == "Bearer gw-key"
        assert call.headers["x-team"] == "physics"
        assert call.body["temperature"] == 0.3


def test_the_documentation_shows_the_example():
    page = (EXAMPLES.parent / "docs" / "models.md").read_text(encoding="utf-8")
    module = (EXAMPLES / "provider" / "moa_gateway" / "__init__.py").read_text(encoding="utf-8")
    entry_point = '[project.entry-points."moa_graph.providers"]\ngateway = "moa_gateway:GATEWAY"\n'
    assert f"```py\n{module}```" in page
    assert f"```text\n{entry_point}```" in page
    assert entry_point in (EXAMPLES / "provider" / "pyproject.toml").read_text(encoding="utf-8")


def test_the_documentation_names_all_that_a_provider_says():
    page = (EXAMPLES.parent / "docs" / "models.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| \w", page, re.MULTILINE) == [
        each.name for each in fields(Provider)
    ]


def test_the_command_line_asks_an_added_provider(gateway, moa, tmp_path):
    gateway.model("w", reply="from the gateway")
    mixture = tmp_path / "mixture.toml"
    mixture.write_text('layers = [["gateway:a", "gateway:b"]]\naggregator = "gateway:w"\n')
    done = moa("ask", "q", "--config", mixture)
    assert (done.returncode, done.stdout, done.stderr) == (0, "from the gateway\n", "")


def test_missing_key_of_an_added_provider_is_told_before_anybody_is_asked(
    gateway, moa, tmp_path, monkeypatch
):
    monkeypatch.delenv("GATEWAY_API_KEY")
    mixture = tmp_path / "mixture.toml"
    mixture.write_text('layers = [["gateway:a"]]\naggregator = "offline:consensus"\n')
    assert MoAConfig.load(mixture).required_keys() == ["GATEWAY_API_KEY"]
    done = moa("ask", "q", "--config", mixture)
    assert done.returncode == 1
    assert "GATEWAY_API_KEY" in done.stderr
    assert gateway.calls == []


def test_key_of_an_added_provider_is_not_sent_to_another_server(gateway, server, invoke):
    agent = Agent(model="gateway:a", base_url=server.url)
    invoke(create_moa([[agent]], agent).compile(), {"messages": "q"})
    assert not any("gw-key" in call.headers["authorization"] for call in server.calls)


def test_an_added_provider_says_what_the_package_asks(gateway):
    usage = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000}
    assert estimate_cost("gateway:gpt-4o", usage) == estimate_cost("openai:gpt-4o", usage) > 0
    assert supports_response_format("gateway:gpt-4o")
    assert not is_free_model("gateway:gpt-4o")


def test_nothing_of_a_package_is_imported_before_one_of_its_models_is_named(monkeypatch, tmp_path):
    site = tmp_path / "site"
    add_package(monkeypatch, site, ENTRY_POINT_GROUP, {"late": "provider_late:LATE"})
    (site / "provider_late.py").write_text(
        "from moa_graph.models.providers import Provider\n"
        "LATE = Provider(name='late', build=dict)\n"
    )
    create_moa([["offline:lead"]], "offline:consensus")
    Agent(model="openai:a", base_url="http://localhost:1/v1")
    assert "provider_late" not in sys.modules
    Agent(model="late:a")
    assert sys.modules.pop("provider_late")


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("no_such_module:IT", "cannot be loaded: ModuleNotFoundError"),
        (
            "json:dumps",
            "Provider whose `name` is 'broken', got <function dumps",
        ),
        (
            "provider_other:IT",
            "Provider whose `name` is 'broken', got name='other'",
        ),
    ],
)
def test_a_package_that_cannot_be_used_is_named(monkeypatch, tmp_path, value, cause):
    other = SimpleNamespace(IT=Provider(name="other", build=EchoModel))
    monkeypatch.setitem(sys.modules, "provider_other", other)
    add_package(monkeypatch, tmp_path / "site", ENTRY_POINT_GROUP, {"broken": value})
    with pytest.raises(ValueError, match=rf"provider 'broken' \({value}\).*{cause}"):
        Agent(model="broken:x")
    assert not is_free_model("broken:x")  # what was stored can still be read


def test_a_provider_with_options_that_no_agent_has_is_refused(added):
    added(Provider(name="odd", build=EchoModel, options=("top_p", "warmth")))
    with pytest.raises(ValueError, match="no options warmth; expected one of: temperature, top_p"):
        Agent(model="odd:x")


@pytest.mark.parametrize(
    "option",
    [
        {"max_tokens": 5},
        {"top_p": 0.5},
        {"max_retries": 2},
        {"base_url": "http://localhost:1/v1"},
        {"api_key_env": "ECHO_KEY"},
    ],
)
def test_option_that_a_chat_model_has_no_field_for_is_refused(added, option, monkeypatch):
    monkeypatch.setenv("ECHO_KEY", "secret")
    added(Provider(name="echo", build=EchoModel))
    [(name, value)] = option.items()
    with pytest.raises(ValueError, match=rf"`{name}`={value!r} has no effect on 'echo:x'") as error:
        create_moa([[Agent(model="echo:x", **option)]], "offline:consensus")
    assert "secret" not in str(error.value)


def test_options_reach_the_fields_of_a_chat_model_also_under_other_names(added):
    added(Provider(name="echo", build=EchoModel, option_names={"max_tokens": "num_predict"}))
    model = build_model(Agent(model="echo:x", max_tokens=5, temperature=0.5, stop=["."]))
    assert (model.num_predict, model.temperature, model.stop_words) == (5, 0.5, ["."])


def test_timeout_that_a_chat_model_does_not_know_is_kept_and_not_sent(added, invoke):
    added(Provider(name="echo", build=EchoModel))
    agent = Agent(model="echo:x", timeout=60.0)
    answer = invoke(create_moa([[agent]], agent).compile(), {"messages": "q"})
    assert answer["messages"][-1].text == "x {}"


def test_default_of_a_mixture_is_refused_where_it_has_no_effect(added):
    added(Provider(name="echo", build=EchoModel))
    mixture = MoAConfig(layers=[["echo:x"]], aggregator="echo:x", max_tokens=5)
    with pytest.raises(ValueError, match="`max_tokens`=5 has no effect on 'echo:x'"):
        mixture.graph(lazy=False)


def test_declared_options_are_checked_before_a_model_is_built(added):
    added(Provider(name="echo", build=EchoModel, options=("temperature",)))
    assert build_model(Agent(model="echo:x", temperature=0.5)).temperature == 0.5
    with pytest.raises(ValueError, match="'echo' takes no `max_tokens`"):
        Agent(model="echo:x", max_tokens=5)


def test_what_the_code_of_a_provider_raises_is_one_line_without_a_key(added, monkeypatch):
    def build(model, **options):
        raise RuntimeError(f"no such\nregion for {options['api_key']}")

    monkeypatch.setenv("ECHO_PASSPHRASE", "open-sesame")  # neither looks like that of a key
    added(Provider(name="echo", build=build, key_variable="ECHO_PASSPHRASE"))
    with pytest.raises(ValueError, match="model 'echo:x': RuntimeError: no such") as error:
        create_moa([["echo:x"]], "offline:consensus")
    assert "sesame" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_provider_that_builds_no_chat_model_is_told(added):
    added(Provider(name="echo", build=dict))
    with pytest.raises(ValueError, match="'echo': expected a chat model of `build`, got dict"):
        create_moa([["echo:x"]], "offline:consensus")


def test_models_that_are_not_language_models_cost_nothing(added):
    added(Provider(name="echo", build=EchoModel, is_language_model=False, model_names=("a", "b")))
    assert estimate_cost("echo:a", None) == 0.0
    assert is_free_model("echo:a")
    with pytest.raises(ValueError, match="expected 'echo:' and one of a, b, got 'echo:c'"):
        Agent(model="echo:c")


@pytest.mark.parametrize("has_langchain", [True, False])
@pytest.mark.parametrize(
    ("written", "meant"),
    [("opnai", "openai"), ("Together", "together"), ("antropic", "anthropic"), ("gatway", None)],
)
def test_mistyped_provider_suggests_the_nearest(
    written, meant, has_langchain, gateway, monkeypatch
):
    if not has_langchain:
        monkeypatch.setitem(sys.modules, "langchain", None)
    with pytest.raises((ImportError, ValueError)) as error:
        create_moa([[f"{written}:m"]], "offline:consensus")
    assert f"did you mean '{meant or 'gateway'}:m'?" in str(error.value)


def test_what_is_like_no_provider_gets_no_suggestion(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain", None)
    with pytest.raises(ImportError, match="for provider 'acme' install") as error:
        create_moa([["acme:m"]], "offline:consensus")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_built_in_providers_take_all_options(provider, monkeypatch):
    monkeypatch.setenv("MINE", "k")
    options = {"temperature": 0.5, "top_p": 0.5, "stop": ["."], "max_retries": 1, "timeout": 3.0}
    options |= {"base_url": "http://localhost:1/v1", "api_key_env": "MINE", "max_tokens": 5}
    options |= {"stream_chunk_timeout": 5.0, "reasoning_effort": "low"}
    assert len(options) == len(MODEL_OPTIONS)
    assert isinstance(build_model(Agent(model=f"{provider}:m", **options)), BaseChatModel)
