"""Completions in OpenAI's format: complete, or in chunks."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from openai.types import Completion, CompletionChoice
from openai.types.completion_choice import Logprobs
from pydantic_core import to_json

from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.server.errors import ApiError, openai_error_body
from moa_graph.server.openai_answers import (
    UsageOf,
    moa_extension,
    openai_logprobs,
    openai_usage,
    to_openai_reason,
)
from moa_graph.server.openai_completions_requests import CompletionRequest
from moa_graph.server.responses import ServerEvent
from moa_graph.server.service import ApiOptions


class CompletionFormat:
    """Formats completions."""

    def __init__(self, request: CompletionRequest, usage: UsageOf = ApiOptions.usage) -> None:
        self._request, self._usage = request, usage
        self._id, self._created = f"cmpl-{uuid4().hex}", int(time.time())
        self._reasons: dict[int, str] = {}
        self._written = Counter[int]()  # number of streamed characters of each answer
        self._summaries: list[AIMessage] = []

    def format_answers(self, answers: Sequence[AIMessage]) -> str:
        """Return a completion."""
        choices = [
            self._to_choice(answer, index, self._echo(index), read_finish_reason(answer))
            for index, answer in enumerate(answers)
        ]
        return self._to_json(choices, usage=openai_usage(*answers, of=self._usage), of=answers)

    def start(self) -> Iterable[ServerEvent]:
        """Return the prompts, if `echo` is set."""
        for index in range(
            len(self._request.prompt) * self._answers_per_prompt if self._request.echo else 0
        ):
            yield self._to_event(AIMessage(self._echo(index)), index)

    def format_chunk(self, chunk: AIMessageChunk, index: int) -> Iterable[ServerEvent]:
        """Return the chunks for a chunk; the last one has the finish reason."""
        if reason := read_finish_reason(chunk):
            self._reasons[index] = reason
        if read_run_summary(chunk):
            self._summaries.append(chunk)
            choice = self._to_choice(chunk, index, "", self._reasons.get(index))
            yield ServerEvent(self._to_json([choice], of=[chunk]))
        elif chunk.text or openai_logprobs(chunk):
            yield self._to_event(chunk, index)
        self._written[index] += len(chunk.text)

    def end(self) -> Iterable[ServerEvent]:
        """Return the end of the stream."""
        if self._request.stream_options and self._request.stream_options.include_usage:
            usage = openai_usage(*self._summaries, of=self._usage)
            yield ServerEvent(self._to_json([], usage=usage))
        yield ServerEvent("[DONE]")

    def format_error(self, error: ApiError) -> Iterable[ServerEvent]:
        """Return an error; the stream then ends without its last event."""
        yield ServerEvent(to_json(openai_error_body(error)).decode())

    @property
    def _answers_per_prompt(self) -> int:
        return self._request.n or 1

    def _echo(self, index: int) -> str:
        """Return the prompt of an answer, if `echo` is set."""
        return self._request.prompt[index // self._answers_per_prompt] if self._request.echo else ""

    def _to_event(self, piece: AIMessage, index: int) -> ServerEvent:
        # OpenAI's class requires a finish reason, although its server omits it in chunks.
        choice = CompletionChoice.model_construct(
            index=index,
            text=piece.text,
            logprobs=self._to_logprobs(piece, index),
            finish_reason=None,
        )
        return ServerEvent(self._to_json([choice]))

    def _to_choice(
        self, answer: AIMessage, index: int, echo: str, reason: str | None
    ) -> CompletionChoice:
        fields = {
            "index": index,
            "text": echo + answer.text,
            "logprobs": self._to_logprobs(answer, index),
        }
        reason = to_openai_reason(reason, calls=False)
        return CompletionChoice.model_validate({**fields, "finish_reason": reason})

    def _to_json(
        self, choices: Sequence[CompletionChoice], of: Sequence[AIMessage] = (), **more: Any
    ) -> str:
        """Encode a completion or a chunk; `moa` describes the answers that it ends."""
        head = {"id": self._id, "object": "text_completion", "created": self._created}
        extension = {"moa": moa_extension(*of, usage=self._usage)} if of else {}
        completion = Completion.model_validate(
            {**head, "model": self._request.model, "choices": choices, **more, **extension}
        )
        return completion.model_dump_json(exclude_unset=True, warnings=False)

    def _to_logprobs(self, piece: AIMessage, index: int) -> Logprobs | None:
        """Convert the log-probabilities of an answer or a piece to their older format."""
        logprobs = openai_logprobs(piece)
        if logprobs is None:
            return None
        tokens = logprobs["content"]
        lengths = (len(token["token"]) for token in tokens)
        return Logprobs(
            tokens=[token["token"] for token in tokens],
            token_logprobs=[token["logprob"] for token in tokens],
            top_logprobs=[
                {top["token"]: top["logprob"] for top in token["top_logprobs"]} for token in tokens
            ],
            text_offset=[*accumulate(lengths, initial=self._written[index])][: len(tokens)],
        )
