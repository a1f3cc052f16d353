"""Base class of runnables that wrap a model and intercept all its calls."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableParallel, RunnableSequence


class ModelWrapper(Runnable[Any, AIMessage]):
    """A runnable around an adapted model, such as one that records each call."""

    wrapped: Runnable[Any, Any]
    """The model."""

    @abstractmethod
    def rewrap(self, model: Runnable[Any, Any], options: Mapping[str, Any]) -> Self:
        """Wrap the model again, with options bound to it.

        Args:
            model: The model with the options.
            options: Identifies calls with these options.
        """

    def with_structured_output(self, schema: dict[str, Any], **_: Any) -> Runnable[Any, Any]:
        """Restrict the model to a schema; see LangChain's `with_structured_output` (`include_raw`).

        Raises:
            NotImplementedError: If the model does not support it.
        """
        model: Any = self.wrapped
        structured = model.with_structured_output(schema, include_raw=True)
        first = structured.first if isinstance(structured, RunnableSequence) else None
        if not isinstance(first, RunnableParallel) or "raw" not in first.steps__:
            return structured  # type: ignore[no-any-return]  # its calls cannot be told from the rest
        call = self.rewrap(first.steps__["raw"], {"structured_output": schema})
        return RunnableSequence(RunnableParallel({"raw": call}), *structured.steps[1:])
