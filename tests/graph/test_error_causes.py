"""What catches a failure of a model catches it from a mixture, and no key gets out."""

import pickle
import traceback
import weakref

import openai
import pytest
from fakes import FakeModel
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy
from pydantic import SecretStr

from moa_graph import Agent, AggregatorError, ChatMoA, MoAError, QuorumError, create_moa

KEY = "topsecret-0123456789"


class BusyError(Exception):
    """A user's own."""


def failing(*errors):
    return FakeModel(answers=list(errors))


def mixtures_that_fail_with(error):
    yield QuorumError, create_moa([[failing(error)]], FakeModel()).compile()
    yield AggregatorError, create_moa([[FakeModel()]], failing(error)).compile()
    yield QuorumError, ChatMoA([[failing(error)]], FakeModel())
    yield AggregatorError, ChatMoA([[FakeModel()]], failing(error))


def caught_from(call, *args):
    with pytest.raises(MoAError) as caught:
        call(*args)
    return caught.value


def question_for(mixture):
    return "q" if isinstance(mixture, ChatMoA) else {"messages": "q"}


@pytest.mark.parametrize(
    "error",
    [
        ContextOverflowError("too long"),
        ModelRateLimitError("slow down"),
        BusyError("later"),
        KeyError("total_tokens"),
        OSError(2, "no such file", "notes.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        GraphRecursionError("too many steps"),
    ],
)
def test_an_error_has_the_type_of_the_failure_and_the_failure_as_its_cause(invoke, error):
    for error_class, mixture in mixtures_that_fail_with(error):
        raised = caught_from(invoke, mixture, question_for(mixture))
        assert isinstance(raised, error_class)
        assert isinstance(raised, type(error))
        assert raised.__cause__ is error
        assert type(raised).__name__ == error_class.__name__
        assert str(raised).startswith(("layer 1: 0 of 1", "no final answer: "))


class NamedError(ValueError):
    """One that uses a name of ours for something else."""

    @property
    def failures(self):
        return "none of ours"

    layer = failures


class NumberedError(ValueError):
    """One that cannot be made of a text alone."""

    def __new__(cls, number, text):
        return super().__new__(cls, number, text)


def test_an_error_without_a_type_that_cannot_be_taken_on_has_the_next_one(invoke):
    for error in (NamedError("busy"), NumberedError(7, "busy")):
        for error_class, mixture in mixtures_that_fail_with(error):
            raised = caught_from(invoke, mixture, question_for(mixture))
            assert isinstance(raised, error_class)
            assert isinstance(raised, ValueError)
            assert not isinstance(raised, type(error))
            assert raised.__cause__ is error
            assert "busy" in "".join(raised.failures.values())


def test_a_group_of_errors_is_the_cause(invoke):
    error = ExceptionGroup("unhandled errors in a TaskGroup", [BusyError("later")])
    for error_class, mixture in mixtures_that_fail_with(error):
        raised = caught_from(invoke, mixture, question_for(mixture))
        assert type(raised) is error_class
        assert raised.__cause__ is error


def test_an_error_of_a_provider_keeps_its_type_and_what_it_tells(invoke, server):
    server.model("m", faults=[429])
    model = ChatOpenAI(model="m", base_url=server.url, api_key=KEY, max_retries=0)
    raised = caught_from(invoke, create_moa([[model]], FakeModel()).compile(), {"messages": "q"})
    assert isinstance(raised, openai.RateLimitError)
    assert isinstance(raised, ModelRateLimitError)
    assert raised.status_code == 429
    assert raised.is_retryable
    assert raised.response.headers["content-type"]
    assert isinstance(raised.__cause__, openai.RateLimitError)
    for error in (raised, raised.__cause__):
        assert "authorization" not in error.response.request.headers
        assert error.__context__ is None


def test_an_error_that_repeats_a_key_becomes_a_copy_of_its_type_without_it(invoke):
    class RefusingModel(FakeModel):
        api_key: SecretStr = SecretStr(KEY)

        def _answer(self, messages):
            error = BusyError(f"refused {KEY}", 401)
            error.body = {"error": [f"Incorrect API key provided: {KEY}"]}
            raise error from ValueError(f"wrong key {KEY}")

    model = RefusingModel()
    for layer, writer in (([model], FakeModel()), ([FakeModel()], model)):
        graph = create_moa([layer], writer).compile()
        raised = caught_from(invoke, graph, {"messages": "q"})
        assert isinstance(raised, BusyError)
        assert raised.__cause__.args == ("refused ***", 401)
        assert raised.__cause__.body == {"error": ["Incorrect API key provided: ***"]}
        assert KEY not in "".join(traceback.format_exception(raised))


def test_a_lost_quorum_takes_a_type_that_all_failures_share(invoke):
    def raised_by(*errors):
        layer = [failing(each) for each in errors]
        return caught_from(invoke, create_moa([layer], FakeModel()).compile(), {"messages": "q"})

    both = raised_by(ContextOverflowError("1"), ContextOverflowError("2"))
    assert isinstance(both, ContextOverflowError)
    assert str(both.__cause__) == "1"
    related = raised_by(ContextOverflowError("1"), ModelRateLimitError("2"))
    assert isinstance(related, ModelError)
    assert not isinstance(related, (ContextOverflowError, ModelRateLimitError))
    different = raised_by(ContextOverflowError("1"), BusyError("2"))
    assert type(different) is QuorumError
    assert isinstance(different.__cause__, ContextOverflowError)


def test_an_aggregator_takes_a_type_that_its_fallbacks_share(invoke):
    def raised_by(*errors):
        writer, *fallbacks = map(failing, errors)
        graph = create_moa([[FakeModel()]], writer, fallbacks=fallbacks).compile()
        return caught_from(invoke, graph, {"messages": "q"})

    assert isinstance(raised_by(BusyError(), BusyError()), BusyError)
    assert type(raised_by(BusyError("1"), ModelRateLimitError("2"))) is AggregatorError


def test_no_error_is_a_runtime_error(invoke):
    for _, mixture in mixtures_that_fail_with(RuntimeError("down")):
        raised = caught_from(invoke, mixture, question_for(mixture))
        assert not isinstance(raised, RuntimeError)
        assert isinstance(raised.__cause__, RuntimeError)


def test_a_mixture_in_a_mixture_hands_its_type_on(invoke):
    inner = ChatMoA([[failing(ContextOverflowError("too long"))]], FakeModel())
    raised = caught_from(invoke, create_moa([[inner]], FakeModel()).compile(), {"messages": "q"})
    assert isinstance(raised, QuorumError)
    assert isinstance(raised, ContextOverflowError)
    assert isinstance(raised.__cause__, QuorumError)


async def test_a_call_that_is_cut_off_is_a_timeout_of_a_model():
    slow = FakeModel(until=lambda: False)
    graph = create_moa([[Agent(model=slow, timeout=0.01)]], FakeModel()).compile()
    with pytest.raises(ModelTimeoutError, match=r"timeout of 0\.01 s"):
        await graph.ainvoke({"messages": "q"})


@pytest.mark.parametrize("proposer_fails", [True, False])
def test_a_hosts_retry_policy_asks_again(invoke, proposer_fails):
    flaky, good = FakeModel(answers=[BusyError(), "fine"]), FakeModel(answers=["fine"])
    models = (flaky, good) if proposer_fails else (good, flaky)
    node = create_moa([[models[0]]], models[1]).compile()
    policy = RetryPolicy(initial_interval=0.01)
    host = StateGraph(MessagesState).add_node("n", node, retry_policy=policy).add_edge(START, "n")
    assert invoke(host.compile(), {"messages": "q"})["messages"][-1].text == "fine"
    assert len(flaky.asked) == 2


def test_fallbacks_of_a_mixture_catch_what_they_would_from_a_model(invoke):
    large = RunnableLambda(lambda _: AIMessage("from the large one"))
    mixture = ChatMoA([[FakeModel()]], failing(ContextOverflowError("too long")))
    safe = mixture.with_fallbacks([large], exceptions_to_handle=(ContextOverflowError,))
    assert invoke(safe, "q").text == "from the large one"


def test_an_error_goes_to_another_process_with_its_types(invoke):
    for error_class, mixture in mixtures_that_fail_with(ContextOverflowError("too long")):
        raised = caught_from(invoke, mixture, question_for(mixture))
        again = pickle.loads(pickle.dumps(raised))
        assert isinstance(again, error_class)
        assert isinstance(again, ContextOverflowError)
        assert (str(again), again.failures) == (str(raised), raised.failures)


def test_an_error_goes_to_another_process_without_a_type_that_is_not_known_there():
    class LocalError(Exception):
        pass

    mixture = ChatMoA([[failing(LocalError("here"))]], FakeModel())
    again = pickle.loads(pickle.dumps(caught_from(mixture.invoke, "q")))
    assert type(again) is QuorumError


class Conversation(str):  # noqa: SLOT000  # a weak reference to it is taken
    """A text that tells when it is gone."""


def test_a_failure_that_is_kept_holds_nothing_of_its_run_but_where_it_was_raised(invoke):
    references = []

    def fail(messages):
        text = Conversation(messages[0].text)
        references.append(weakref.ref(text))
        raise BusyError

    mixture = create_moa([[RunnableLambda(fail)]], FakeModel()).compile()
    raised = caught_from(invoke, mixture, {"messages": "q"})
    assert references[0]() is None
    assert traceback.extract_tb(raised.__cause__.__traceback__)[-1].name == "fail"
