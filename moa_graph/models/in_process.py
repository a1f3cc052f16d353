"""The base class of models that answer in this process, without a language model."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class InProcessModel(BaseChatModel):
    """A chat model whose answer depends only on the messages: options have no effect."""

    @abstractmethod
    def _build_message(self, messages: Sequence[BaseMessage]) -> AIMessage:
        """Return the answer with its `usage_metadata`, if known, and `finish_reason`."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._build_message(messages))])
