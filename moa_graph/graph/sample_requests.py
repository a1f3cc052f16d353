"""One request for several samples, and what a model's refusal of it says."""

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
    """Keeps all choices of a request: `invoke` gives the first.

    It is called before other handlers, and tells them the model of each choice, as LangChain does
    where there is one: a `UsageMetadataCallbackHandler` counts no tokens without it.
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
    """Ask an agent's model for several answers in one request.

    Args:
        agent_node: Whose samples they are.
        count: How many.
        messages: What the model reads.
        config: Config of the call.
        limit_choices: Is told how many to ask for at a time from now on, where that is fewer.

    Returns:
        The answers, maybe fewer than were asked for: none where the model refuses to give so many.
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
