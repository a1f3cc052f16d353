"""Offline agents, which answer by quoting sentences from the conversation.

When asked to pick a response, they return the number of the one that is most similar to the others;
`majority` returns the first one with the most frequent answer.

They allow trials, tests and demonstrations without a key or a network. Each ranks the sentences of
the material by a different classical method; `consensus` prefers sentences that several references
quote. They are deterministic, and are never presented as language models.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from moa_graph.models.in_process import InProcessModel
from moa_graph.models.offline_material import (
    NOTICE,
    ParsedConversation,
    find_candidate_responses,
    parse_conversation,
)
from moa_graph.models.response_ranking import find_majority, rank_by_similarity
from moa_graph.models.sentence_ranking import MAX_QUOTED_SENTENCES, STYLES
from moa_graph.models.sentences import split_sentences, stem_words
from moa_graph.prompting.layout import RANK_ALL


class OfflineModel(InProcessModel):
    """An extractive agent with the interface of a chat model."""

    style: str
    """Method that ranks sentences: a key of `STYLES`."""
    max_tokens: int | None = None
    """Maximum number of quoted words."""

    @property
    def _llm_type(self) -> str:
        return "offline-extractive"

    def _get_ls_params(self, stop: list[str] | None = None, **options: Any) -> LangSmithParams:
        """Name the agent in traces."""
        parameters = super()._get_ls_params(stop=stop, **options)
        return {**parameters, "ls_provider": "offline", "ls_model_name": self.style}

    def _build_message(self, messages: Sequence[BaseMessage]) -> AIMessage:
        words, usage, metadata = self._build_answer(messages)
        return AIMessage("".join(words), usage_metadata=usage, response_metadata=metadata)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **_: Any,
    ) -> Iterator[ChatGenerationChunk]:
        words, usage, metadata = self._build_answer(messages)
        chunks = [AIMessageChunk(content=word) for word in words]
        end = AIMessageChunk(
            content="", usage_metadata=usage, response_metadata=metadata, chunk_position="last"
        )
        for message in [*chunks, end]:
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    def _build_answer(
        self, messages: Sequence[BaseMessage]
    ) -> tuple[list[str], UsageMetadata, dict[str, Any]]:
        """Return the words of the answer, and the tokens (here: words) read and written."""
        if responses := find_candidate_responses(messages):
            ranks_all = messages[-1].text.endswith(RANK_ALL)
            if self.style == "majority" and not ranks_all:
                ranking = [find_majority(responses)]
            else:
                ranking = rank_by_similarity(responses)
            positions = ranking if ranks_all else ranking[:1]
            return self._with_usage([" > ".join(map(str, positions))], messages)
        reading = parse_conversation(messages)
        if reading.references and (self.style == "consensus" or not reading.sentences):
            quoted = (each for text in reading.references for each in split_sentences(text))
            reading = reading._replace(sentences=list(dict.fromkeys(quoted)))
        tokens = re.findall(r"\S+\s*", self._quote_sentences(reading) or self._no_model_notice())
        is_truncated = bool(self.max_tokens and len(tokens) > self.max_tokens)
        return self._with_usage(tokens[: self.max_tokens], messages, cut=is_truncated)

    def _with_usage(
        self, tokens: list[str], messages: Sequence[BaseMessage], *, cut: bool = False
    ) -> tuple[list[str], UsageMetadata, dict[str, Any]]:
        input_tokens = sum(len(message.text.split()) for message in messages)
        usage = UsageMetadata(
            input_tokens=input_tokens,
            output_tokens=len(tokens),
            total_tokens=input_tokens + len(tokens),
        )
        reason = "length" if cut else "stop"
        return tokens, usage, {"finish_reason": reason, "model_name": f"offline:{self.style}"}

    def _quote_sentences(self, reading: ParsedConversation) -> str:
        """Quote the best sentences in their original order."""
        if not reading.sentences:
            return ""
        max_sentences = min(
            MAX_QUOTED_SENTENCES, math.ceil(len(reading.sentences) / MAX_QUOTED_SENTENCES)
        )
        best = STYLES[self.style](reading)[:max_sentences]
        question_words = set(stem_words(reading.question))
        matching = [
            index for index in best if question_words & set(stem_words(reading.sentences[index]))
        ]
        candidates = best if self.style == "lead" else matching or best
        quotes = [reading.sentences[index] for index in sorted(candidates)]
        new = [each for each in quotes if not any(each in o and each != o for o in quotes)]
        return " ".join(new)

    def _no_model_notice(self) -> str:
        return (
            f"{NOTICE} This is the offline agent {self.style!r} of moa_graph, which can only quote "
            "sentences from text that it is given. Attach a file (moa ask --file notes.md ...) or "
            "paste text beside the question; for answers by language models set OPENAI_API_KEY "
            "or TOGETHER_API_KEY."
        )
