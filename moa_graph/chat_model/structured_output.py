"""Structured output: tool calls, OpenAI's `response_format`, and parsers."""

import json
import re
from operator import itemgetter
from typing import Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers import (
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import (
    convert_to_openai_function,
    convert_to_openai_tool,
)
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

STRUCTURED_OUTPUT_METHODS = ("function_calling", "json_schema", "json_mode")

Schema = dict[str, Any] | type

_LONG_GAP = re.compile(r"[ \t\r\n]{500,}")


class _LinearTimeJsonParser(JsonOutputParser):
    """Parses JSON that may be truncated, in linear time.

    LangChain's parser removes one character at a time from invalid JSON and parses it again.
    """

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse the result of a call."""
        first = result[0]
        try:
            text = _shorten_gaps(first.text)
            return super().parse_result([first.model_copy(update={"text": text})], partial=partial)
        except OutputParserException:
            raise
        except RecursionError:
            raise OutputParserException("JSON that is too deep") from None
        except ValueError as error:  # more digits than Python converts
            raise OutputParserException(f"JSON that cannot be read: {error}") from None


class _PydanticJsonParser(_LinearTimeJsonParser, PydanticOutputParser[BaseModel]):
    """Parses JSON into an instance of a pydantic class."""


def check_structured_output_options(
    method: str,
    strict: bool | None,  # noqa: FBT001
    others: dict[str, Any],
) -> None:
    """Check the options of `with_structured_output`.

    Raises:
        ValueError: If there is no such method, or an option would have no effect.
    """
    if method not in STRUCTURED_OUTPUT_METHODS:
        raise ValueError(
            f"`method`={method!r}: expected one of: {', '.join(STRUCTURED_OUTPUT_METHODS)}"
        )
    if method == "json_mode" and strict is not None:
        raise ValueError(
            f"`strict`={strict}: 'json_mode' has no schema; expected `method`='json_schema'"
        )
    if others:
        raise ValueError(
            f"unknown option {min(others)!r}; expected `method`, `strict` or `include_raw`"
        )


def build_response_format(schema: Schema, method: str, *, strict: bool | None) -> dict[str, Any]:
    """Return the `response_format` of OpenAI's API for JSON output."""
    if method == "json_mode":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": _json_schema(schema, strict=strict)}


def with_output_parser(
    model: Runnable[Any, Any], schema: Schema, method: str, *, include_raw: bool
) -> Runnable[Any, Any]:
    """Append the parser of LangChain's models: to an instance or a dictionary."""
    parser = build_parser(schema, method)
    if not include_raw:
        return model | parser
    good = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    bad = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | good.with_fallbacks([bad], exception_key="parsing_error")


def build_parser(schema: Schema, method: str) -> Runnable[Any, Any]:
    """Build a parser of answers for a schema; its time is linear in the length."""
    is_model = isinstance(schema, type) and is_basemodel_subclass(schema)
    model = cast("type[BaseModel]", schema)
    if method != "function_calling":
        return _PydanticJsonParser(pydantic_object=model) if is_model else _LinearTimeJsonParser()
    if is_model:
        return PydanticToolsParser(tools=[model], first_tool_only=True)
    name = convert_to_openai_tool(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _json_schema(schema: Schema, *, strict: bool | None) -> dict[str, Any]:
    if isinstance(schema, dict) and schema.get("type") == "json_schema":
        return dict(schema["json_schema"])
    if isinstance(schema, dict) and {"name", "schema"} <= schema.keys():
        return schema
    if strict is None:  # as ChatOpenAI: strict for a class, not for a dict
        is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
        strict = is_model or (isinstance(schema, dict) and schema.get("strict") is True)
    function = convert_to_openai_function(schema, strict=strict)
    return {**function, "schema": function.pop("parameters")}


def _shorten_gaps(text: str) -> str:
    """Shorten long runs of white space, unless the text is valid JSON and they may be values."""
    try:
        json.loads(text, strict=False)
    except ValueError:
        return _LONG_GAP.sub(" ", text)
    return text
