"""A mixture as a chat model: answers that the provider itself holds to a form."""

import json

import pytest
from fakes import FakeModel
from langchain_core.exceptions import OutputParserException
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from typing_extensions import TypedDict

from moa_graph import Agent, ChatMoA


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class JokeDict(TypedDict):
    """A joke."""

    setup: str
    punchline: str


TOLD = {"setup": "Why?", "punchline": "Because."}


SAID = json.dumps(TOLD)
FORMS = {"Joke": Joke, "JokeDict": JokeDict, "schema": Joke.model_json_schema()}


@pytest.fixture
def moa(server):
    """A chat model over real HTTP, whose writer says `reply`."""

    def make(reply=SAID, **options):
        server.model("writer", reply=reply)
        a, writer = (
            Agent(model=f"openai:{name}", base_url=server.url, max_retries=0)
            for name in ("a", "writer")
        )
        return ChatMoA(**{"layers": [[a]], "aggregator": writer} | options)

    return make


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_writer_alone_is_held_to_the_form(method, form, moa, server, invoke):
    model = moa().with_structured_output(FORMS[form], method=method)
    wanted = Joke(**TOLD) if form == "Joke" else TOLD
    assert invoke(model, "a joke") == wanted
    assert list(model.stream("a joke"))[-1] == wanted
    for call in server.calls_of("writer"):
        assert not call.body.keys() & {"tools", "tool_choice"}
        told = call.body["response_format"]
        assert told["type"] == ("json_object" if method == "json_mode" else "json_schema")
        if method == "json_schema":
            assert set(told["json_schema"]["schema"]["properties"]) == set(TOLD)
            assert told["json_schema"].get("strict", False) is (form == "Joke")
    assert all("response_format" not in call.body for call in server.calls_of("a"))


def test_raw_answer_stands_beside_the_parsed_one(moa, invoke):
    options = {"method": "json_schema", "include_raw": True}
    good = invoke(moa().with_structured_output(Joke, **options), "a joke")
    assert (good["parsed"], good["parsing_error"]) == (Joke(**TOLD), None)
    assert good["raw"].response_metadata["moa"]["asked"] == 1
    bad = invoke(moa("{}").with_structured_output(Joke, **options), "a joke")
    assert bad["parsed"] is None
    assert isinstance(bad["parsing_error"], OutputParserException)


def test_fallback_is_held_to_the_form_too(moa, server, invoke):
    server.model("spare", reply=SAID)
    spare = ChatOpenAI(model="spare", base_url=server.url, api_key="none").bind(temperature=0)
    model = moa(fallbacks=[spare])
    server.model("writer", always=500)
    assert invoke(model.with_structured_output(Joke, method="json_schema"), "q") == Joke(**TOLD)
    assert server.calls_of("spare")[0].body["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_strict_reaches_the_provider(method, moa, server, invoke):
    model = moa({"JokeDict": TOLD} if method == "function_calling" else SAID)
    form = model.with_structured_output(JokeDict, method=method, strict=True)
    assert invoke(form, "q") == TOLD
    body = server.calls_of("writer")[0].body
    tools = [tool["function"] for tool in body.get("tools", ())]
    assert (tools or [body["response_format"]["json_schema"]])[0]["strict"] is True


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_writer_that_takes_no_form_is_refused_by_name(method, lazy, moa):
    for options in (
        {"aggregator": "offline:lead"},
        {"aggregator": FakeModel()},
        {"fallbacks": ["offline:lead"]},
    ):
        with pytest.raises(ValueError, match=f"`method`='{method}': .*expected 'function_calling'"):
            moa(lazy=lazy, **options).with_structured_output(Joke, method=method)


def test_lazy_mixture_is_given_a_form_without_its_keys(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    moa = ChatMoA([["openai:a"]], "openai:b", lazy=True)
    moa.with_structured_output(Joke, method="json_schema")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "magic"}, "`method`='magic': expected one of: function_calling, json_schema"),
        ({"method": "json_mode", "strict": True}, "`strict`=True: .*`method`='json_schema'"),
        ({"tools": []}, "unknown option 'tools'"),
    ],
)
def test_what_makes_no_form_is_refused(options, error, moa):
    with pytest.raises(ValueError, match=error):
        moa().with_structured_output(Joke, **options)


def test_mixture_that_selects_takes_no_form(moa):
    with pytest.raises(ValueError, match="expected a mixture with `aggregation`='synthesize'"):
        moa(aggregation="select").with_structured_output(Joke, method="json_schema")
