"""Requests for several samples, and handling of refusals."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import AnyMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig

from moa_graph.graph.spec import AgentNode
from moa_graph.prompting.choices import name_models, read_choices
from moa_graph.prompting.refusals import is_unclear_refusal, read_choice_limit
from moa_graph.sync_async import Flow, Step


class _ResultCollector(BaseCallbackHandler):
    """Collects all choices of a request: `invoke` returns only the first.

    It runs before other handlers and sets the model name of each choice, as LangChain does for a
    single choice. Without it, a `UsageMetadataCallbackHandler` counts no tokens.
    """

    run_inline = True
    result: LLMResult | None = None

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        self.result = name_models(response)


def ask_for_samples(
    agent_node: AgentNode,
    count: int,
    messages: Sequence[AnyMessage],
    config: RunnableConfig,
    limit_choices: Callable[[int], None],
) -> Flow[Sequence[Any]]:
    """Request several answers of an agent's model at once.

    Args:
        agent_node: The agent.
        count: Number of answers.
        messages: The prompt.
        config: Config of the call.
        limit_choices: Called with the limit of a provider that accepts fewer choices.

    Returns:
        The answers, possibly fewer than `count`; none if the model rejects the number.
    """
    model, traits = agent_node.model, agent_node.traits
    if count == 0:
        return []
    if count == 1:
        return [(yield Step(model.invoke, model.ainvoke, (messages, config)))]
    collector = _ResultCollector()
    call_config = _with_first_handler(config, collector)
    invoke, ainvoke = partial(model.invoke, n=count), partial(model.ainvoke, n=count)
    try:
        output = yield Step(invoke, ainvoke, (messages, call_config))
    except Exception as error:
        if most := read_choice_limit(error, count):
            traits.max_choices = most
        elif is_unclear_refusal(error):
            limit_choices(1)
        else:
            raise
        return []
    answers = (collector.result and read_choices(collector.result, count)) or [output]
    if len(answers) < count:
        traits.max_choices = len(answers)
    return answers


def _with_first_handler(config: RunnableConfig, handler: BaseCallbackHandler) -> RunnableConfig:
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager):
        return {**config, "callbacks": [handler, *(callbacks or ())]}
    manager = callbacks.copy()
    for handlers in (manager.handlers, manager.inheritable_handlers):
        handlers.insert(0, handler)
    return {**config, "callbacks": manager}
