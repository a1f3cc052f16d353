"""What a chat model can be asked for in a call."""

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda
from langchain_openai import AzureChatOpenAI, ChatOpenAI

from moa_graph import create_moa
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.capabilities import ModelCapabilities, read_capabilities


def openai_model(name="gpt-4o", **options):
    return ChatOpenAI(model=name, api_key="key", **options)


def test_compatible_server_takes_all_parameters():
    model = build_model(Agent(model="openai:any", base_url="http://127.0.0.1:1/v1"))
    capabilities = read_capabilities(model)
    assert capabilities.meet({"calls_tools", "logprobs", "response_format", "top_k", "verbosity"})
    assert capabilities.takes_extra_body


def test_openai_and_azure_take_no_top_k():
    azure = AzureChatOpenAI(
        api_key="key", azure_endpoint="https://x.openai.azure.com", api_version="1"
    )
    for model in (openai_model(), azure):
        assert read_capabilities(model).meet({"calls_tools", "logprobs", "response_format"})
        assert not read_capabilities(model).meet({"top_k"})


@pytest.mark.parametrize(
    ("model", "with_tools"),
    [(openai_model(use_responses_api=True), False), (openai_model("gpt-6-any"), True)],
)
def test_model_that_is_asked_by_responses_takes_what_langchain_translates(model, with_tools):
    capabilities = read_capabilities(model, with_tools=with_tools)
    assert capabilities.meet({"calls_tools", "response_format", "verbosity"})
    assert not capabilities.meet({"logprobs"})
    assert not capabilities.takes_extra_body


def test_what_is_bound_or_has_fallbacks_can_do_what_all_can():
    offline = build_model(Agent(model="offline:lead"))
    assert read_capabilities(openai_model().bind(stop=["x"])).meet({"calls_tools"})
    both = openai_model().with_fallbacks([offline])
    assert read_capabilities(both) == ModelCapabilities(max_stops=4)  # OpenAI refuses a fifth


@pytest.mark.parametrize(
    "model",
    [
        FakeListChatModel(responses=["x"]),
        RunnableLambda(lambda messages: messages[-1]),
        create_moa([["offline:lead"]], "offline:lead").compile(),
    ],
)
def test_of_others_nothing_is_known(model):
    assert read_capabilities(model) == ModelCapabilities()
