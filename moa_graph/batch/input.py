"""Input records of a batch, read lazily from JSON Lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, Any

from langchain_core.messages import convert_to_messages
from pydantic import ValidationError

from moa_graph.config.model import MoAConfig
from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.validation_errors import describe_expected

MAX_LINE_BYTES = 10_000_000  # as for a question of `moa ask`

_IDENTITY_FIELDS = (
    "layers",
    "aggregator",
    "fallbacks",
    "aggregation",
    "references_in",
    "max_reference_tokens",
)
_LATER_IDENTITY_FIELDS = (
    "mark_truncated",
    "references_per_reader",
    "order",
    "include_reasoning",
    "references_per_window",
    "early_stop",
    "finalists",
    "analysis_only",
)
_AGENT_IDENTITY_FIELDS = {  # included if unset too; newer fields are omitted then, for old batches
    *("model", "system", "samples", "temperature", "top_p", "max_tokens", "stop"),
    *("max_input_tokens", "base_url"),
}
_IGNORED_AGENT_FIELDS = {
    *("timeout", "stream_chunk_timeout", "hedge", "max_retries", "joint_samples", "api_key_env"),
    "starts_in_thought",
}


@dataclass(frozen=True)
class BatchRecord:
    """A line of the input as plain data, so that it can be sent to another process."""

    line: int
    """Line number in the file, from 1."""
    id: str | int
    """Id in the file; by default the line number."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """The conversation in the format of OpenAI's API."""
    invalid_reason: str | None = None
    """Why the record is invalid; `None` if it is valid."""


def read_records(path: Path, limit: int | None = None) -> Iterator[BatchRecord]:
    """Read the records of a file lazily; empty lines are skipped.

    Args:
        path: JSON Lines: `{"prompt": …}` or `{"messages": […]}`, with an optional `id`.
        limit: Maximum number of records.
    """
    with path.open("rb") as file:
        lines = ((number, line) for number, line in enumerate(_read_lines(file), 1) if line.strip())
        for number, line in islice(lines, limit):
            yield parse_record(number, line)


def count_records(path: Path, limit: int | None = None) -> tuple[int, int]:
    """Return the number of records of a file, and the line of the last one."""
    count = last = 0
    with path.open("rb") as file:
        lines = (number for number, line in enumerate(_read_lines(file), 1) if line.strip())
        for count, last in enumerate(islice(lines, limit), 1):  # noqa: B007
            pass
    return count, last


def _read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Read the lines of a file; a line that is too long is truncated."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        yield line


def parse_record(number: int, line: bytes) -> BatchRecord:
    """Parse a record; errors are stored in it."""
    record = BatchRecord(number, number)
    if len(line) > MAX_LINE_BYTES:
        reason = f"longer than {MAX_LINE_BYTES:,} bytes, more than any model reads"
        return BatchRecord(number, number, invalid_reason=reason)
    try:
        row = json.loads(line)
        record = BatchRecord(number, _read_id(row, number))
        return BatchRecord(number, record.id, _read_messages(row))
    except UnicodeDecodeError:
        invalid_reason = "not UTF-8 text"
    except json.JSONDecodeError as error:
        invalid_reason = (
            f"not JSON: {error.msg} at character {error.pos + 1}; "
            'expected an object, such as {"prompt": "..."}'
        )
    except RecursionError:
        invalid_reason = "not valid JSON: nested too deeply"
    except ValueError as error:
        invalid_reason = str(error)
    return BatchRecord(number, record.id, invalid_reason=invalid_reason)


def batch_name(output: Path, mixture: MoAConfig) -> str:
    """Return the name of a batch, derived from its file and mixture, to find its threads again.

    Options that only change timeouts, retries or prices do not change the name.
    """
    options = mixture.with_defaults().model_dump(mode="json", include=set(_IDENTITY_FIELDS))
    identity = {name: options[name] for name in _IDENTITY_FIELDS}
    if mixture.prompt is not None:  # omitted if unset: old batches continue
        identity["prompt"] = mixture.prompt
    for name in _LATER_IDENTITY_FIELDS:  # likewise
        if (value := getattr(mixture, name)) != MoAConfig.model_fields[name].get_default():
            identity[name] = value
    helpers = mixture.with_defaults().model_dump(mode="json", include={"voters", "analysis"})
    identity |= {name: value for name, value in helpers.items() if value}
    routes = _describe_router(mixture.with_defaults())
    identity |= {"router": routes} if routes else {}
    analysts = {"": a} if isinstance(a := identity.get("analysis"), dict) else {}
    for agent in (
        *_iterate_agents([*identity["layers"], identity.get("voters", {}), analysts]),
        *routes.get("agents", {}).values(),
        identity["aggregator"],
        *identity["fallbacks"],
    ):
        for name in agent.keys() - _AGENT_IDENTITY_FIELDS:
            if agent[name] is None or name in _IGNORED_AGENT_FIELDS:
                del agent[name]
    identity = {"final" if key == "aggregation" else key: identity[key] for key in identity}
    if identity["final"] == "synthesize":  # the spelling when names were introduced
        identity["final"] = "write"
    return f"{output.stem}-{_short_hash(identity)}"


def _describe_router(mixture: MoAConfig) -> dict[str, Any]:
    """Describe the decider, its instructions and the agents of the routes."""
    if not (table := mixture.router):
        return {}
    agents = {"": table.model, **table.agents}
    dumped = {name: agent.model_dump(mode="json") for name, agent in agents.items()}
    return {"agents": dumped, "criteria": table.criteria, "instructions": table.instructions}


def thread_id_for(batch: str, record: BatchRecord) -> str:
    """Return the thread of a record; another prompt on the same line has another thread.

    A process that holds such a thread holds its batch (`RunStore.lock_thread`).
    """
    return f"{batch}-{record.line}-{_short_hash(record.messages)}"


def _read_id(row: Any, number: int) -> str | int:
    if not isinstance(row, dict):
        text = f"expected an object with `prompt` or `messages`, got {_describe_type(row)}"
        raise ValueError(text)  # noqa: TRY004  # like any other mistake in the line
    record_id = row.get("id", number)
    if isinstance(record_id, bool) or not isinstance(record_id, (str, int)):
        text = f"`id`: expected a text or a whole number, got {_describe_type(record_id)}"
        raise ValueError(text)  # noqa: TRY004  # likewise
    if replace_surrogates(str(record_id)) != str(record_id):
        raise ValueError(f"`id`: expected text without lone surrogates, got {record_id!a}")
    return record_id


def _read_messages(row: dict[str, Any]) -> list[dict[str, Any]]:
    if ("prompt" in row) == ("messages" in row):
        raise ValueError("expected either `prompt` or `messages`")
    if "prompt" in row:
        prompt = row["prompt"]
        if not isinstance(prompt, str) or not prompt.strip():
            raise ValueError(
                f"`prompt`: expected a text that is not empty, got {_describe_type(prompt)}"
            )
        return [{"role": "user", "content": prompt}]
    messages = row["messages"]
    if not isinstance(messages, list) or not messages or not all(map(_has_role, messages)):
        raise ValueError("`messages`: expected a list of objects with `role` and `content`")
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    if convert_to_messages(messages[-1:])[0].type == "ai":
        raise ValueError("`messages`: expected the last one to be the user's, got the assistant's")
    return messages


def _check_message(message: dict[str, Any], location: str) -> None:
    try:
        convert_to_messages([message])
    except ValidationError as error:
        deepest = max(error.errors(), key=lambda each: len(each["loc"]))
        field, *inside = deepest["loc"]
        where = "".join(f"[{part}]" for part in inside if isinstance(part, int))
        expected = describe_expected(deepest["msg"])
        problem = f"{expected}, got {_describe_type(deepest['input'])}"
        raise ValueError(f"`{location}.{field}{where}`: {problem}") from None
    except KeyError as error:
        raise ValueError(f"`{location}`: {error} is missing") from None
    except Exception as error:  # noqa: BLE001  # LangChain raises whatever it stumbles over
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"`{location}`: {problem}") from None


def _has_role(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str)


def _describe_type(value: Any) -> str:
    return "an empty text" if value == "" else f"{type(value).__name__}"


def _iterate_agents(layers: list[dict[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for layer in layers:
        yield from layer.values()


def _short_hash(value: Any) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:8]
