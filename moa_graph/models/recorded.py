"""Models that replay stored outputs: `recorded:PATH`, or `recorded:PATH#NODE`.

With them, published outputs can be proposers, and stored proposals can be aggregated again without
another call of their models.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult

from moa_graph.errors import MoAError
from moa_graph.models.in_process import InProcessModel
from moa_graph.prompting.layout import REFERENCES_HEADING

MAX_INSTRUCTION_CHARS = 60  # characters of a missing instruction in an error

Turns = tuple[str, ...]
_QUESTION_FILES = (
    *("proposals.jsonl", "question.jsonl", "../question.jsonl", "flask_evaluation.jsonl"),
    "../../evaluation_set/flask_evaluation.jsonl",
)
_REFERENCES_START = f"\n\n{REFERENCES_HEADING}\n<response-"  # start of references in a user message


class NotRecordedError(MoAError, LookupError):
    """The request is not among the stored outputs, or its output was a failure."""


class RecordedOutput(NamedTuple):
    """A stored output."""

    text: str
    error: str | None = None
    usage: Mapping[str, Any] | None = None


class RecordedModel(InProcessModel):
    """Stored outputs with the interface of a chat model, looked up by the user messages."""

    path: str
    """File of AlpacaEval (`model_outputs.json`), MT-Bench, FLASK or `moa eval generate`."""
    node: str | None = None
    """Node in a `proposals.jsonl`, such as `layer_1_qwen`; by default the final answer."""

    @property
    def _llm_type(self) -> str:
        return "recorded"

    def read_outputs(self) -> Mapping[Turns, RecordedOutput]:
        """Read the file.

        Raises:
            ValueError: If it does not exist, or has an unknown format.
        """
        path = Path(self.path).expanduser()
        try:
            changed = path.stat().st_mtime_ns
        except OSError as error:
            raise ValueError(f"recorded outputs: {path}: {error.strerror}") from None
        return _load_outputs(path, self.node, changed)

    def _build_message(self, messages: Sequence[BaseMessage]) -> AIMessage:
        user_turns = tuple(each.text for each in messages if isinstance(each, HumanMessage))
        questions = (
            (*user_turns[:-1], user_turns[-1].partition(_REFERENCES_START)[0]) if user_turns else ()
        )
        outputs = self.read_outputs()
        output = outputs.get(user_turns) or outputs.get(questions) or outputs.get(questions[-1:])
        if output is None:
            beginning = " ".join((questions or ("",))[-1].split())[:MAX_INSTRUCTION_CHARS]
            raise NotRecordedError(f"{self.path}: no recorded answer to {beginning!r}")
        if output.error:
            raise NotRecordedError(f"{self.path}: recorded as a failure: {output.error}")
        usage: Any = dict(output.usage) if output.usage else None
        metadata = {"finish_reason": "stop"}
        return AIMessage(output.text, usage_metadata=usage, response_metadata=metadata)

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)


@lru_cache(maxsize=64)
def _load_outputs(path: Path, node: str | None, _changed: int) -> Mapping[Turns, RecordedOutput]:
    outputs: dict[Turns, RecordedOutput] = {}
    try:
        rows = read_json_rows(path)
        is_results_file = bool(rows and _is_results_row(rows[0]))
        for turns, output in (
            _iter_results_outputs(rows, node)
            if is_results_file
            else _iter_benchmark_outputs(rows, path, node)
        ):
            outputs.setdefault(turns, output)
    except (OSError, ValueError) as error:
        raise ValueError(f"recorded outputs: {path}: {error}") from None
    return outputs


def read_json_rows(path: Path) -> list[Any]:
    """Read a JSON list or JSON Lines; an incomplete last line is skipped.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is neither.
    """
    try:
        return _parse_json_rows(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError("not valid JSON: nested too deeply") from None


def _parse_json_rows(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    *lines, last = text.split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    with suppress(ValueError):
        rows.append(json.loads(last))
    return rows


def _is_results_row(row: Any) -> bool:
    turns = row.get("turns") if isinstance(row, dict) else None
    return bool(turns and isinstance(turns[0], dict))


def _iter_results_outputs(
    rows: Sequence[Any], node: str | None
) -> Iterator[tuple[Turns, RecordedOutput]]:
    """Read the outputs of `moa eval generate`."""
    nodes = sorted({name for row in rows for turn in row["turns"] for name in turn["proposals"]})
    if node and node not in nodes:
        raise ValueError(f"no proposal {node!r}; expected one of: {', '.join(nodes)}")
    for row in reversed(rows):  # the last row of an item counts
        instructions = tuple(turn["instruction"] for turn in row["turns"])
        for number, turn in enumerate(row["turns"], 1):
            if output := _read_turn_output(turn, node):
                yield instructions[:number], output


def _read_turn_output(turn: Mapping[str, Any], node: str | None) -> RecordedOutput | None:
    """Return the answer of a turn, or the proposal of a node; `None` if it is missing."""
    if node is None:
        call = turn.get("aggregator") or {}
        return RecordedOutput(turn["answer"] or "", turn["error"], call.get("usage"))
    if (call := turn["proposals"].get(node)) is None:
        return None
    return RecordedOutput(call["content"] or "", call["error"], call["usage"])


def _iter_benchmark_outputs(
    rows: Sequence[Any], path: Path, node: str | None
) -> Iterator[tuple[Turns, RecordedOutput]]:
    """Read the format of a benchmark."""
    if node:
        raise ValueError(f"'#{node}' names a proposal of a proposals.jsonl; this is another file")
    questions: Mapping[Any, Turns] | None = None
    for row in rows:
        match row:
            case {"instruction": str(instruction), "output": str(output)}:
                yield (instruction,), RecordedOutput(output)
            case {"turns": [*turns], "answers": [*answers]}:
                for number, answer in enumerate(answers, 1):
                    yield tuple(turns[:number]), RecordedOutput(answer)
            case {"question_id": asked, "choices": [{"turns": [*answers]}, *_]}:
                questions = questions or _load_questions(path)
                for number, answer in enumerate(answers, 1):
                    yield questions.get(asked, ())[:number], RecordedOutput(answer)
            case {"question_id": asked, "text": str(output)}:
                questions = questions or _load_questions(path)
                yield questions.get(asked, ())[:1], RecordedOutput(output)
            case _:
                raise ValueError(
                    "expected outputs of AlpacaEval (instruction, output), MT-Bench (question_id, "
                    "choices), FLASK (question_id, text) or moa eval generate; got the keys "
                    f"{', '.join(row) if isinstance(row, dict) else type(row).__name__}"
                )


def _load_questions(path: Path) -> Mapping[Any, Turns]:
    """Find the questions: outputs of MT-Bench and FLASK contain only their numbers."""
    question_file = next(
        (path_beside for name in _QUESTION_FILES if (path_beside := path.parent / name).is_file()),
        None,
    )
    if question_file is None:
        raise ValueError(
            "the questions are not in it; put the benchmark's question.jsonl or "
            "flask_evaluation.jsonl beside it"
        )
    questions: dict[Any, Turns] = {}
    for row in read_json_rows(question_file):
        number = next(row[key] for key in ("question_id", "idx", "id") if key in row)
        turns = row.get("turns") or [row["instruction"]]
        questions[number] = tuple(
            turn["instruction"] if isinstance(turn, dict) else turn for turn in turns
        )
    return questions
