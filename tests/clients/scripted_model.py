"""What the local model behind the panel answers: the same words to every client.

A message of the user says which tool is to be called: `[[call: weather {"city": "Oslo"}]]`.
"""

import json
import re
from typing import Any

Json = dict[str, Any]

ANSWER = "Paris is the capital of France."
CITY = {"name": "Paris", "population": 2_100_000}
"""What every answer with a structure says."""

_CALL = re.compile(r"\[\[call: (\S+) (\{.*?\})\]\]", re.DOTALL)


def reply(body: Json) -> str | Json:
    """Answer a request: text, or the tools that are called with their arguments."""
    tools = {tool["function"]["name"]: tool for tool in body.get("tools") or ()}
    messages = body["messages"]
    last = _read_text(messages[-1])
    if messages[-1]["role"] == "tool" or last.startswith("Observation"):  # smolagents writes so
        said = f"The tool said: {last}"
        return {"final_answer": {"answer": said}} if "final_answer" in tools else said
    if body.get("response_format", {}).get("type", "text") != "text":
        return json.dumps(CITY)
    asked = _find_call(messages)
    if asked and asked[0] in tools:
        return {asked[0]: json.loads(asked[1])}
    forced = body.get("tool_choice")
    if isinstance(forced, dict):
        return {forced["function"]["name"]: CITY}
    if forced == "required":
        return {next(iter(tools)): CITY}
    return ANSWER


def _find_call(messages: list[Json]) -> tuple[str, str] | None:
    """Find the tool that the last such message of the user names, and its arguments."""
    for message in reversed(messages):
        if message["role"] == "user" and (found := _CALL.search(_read_text(message))):
            return found[1], found[2].replace('\\"', '"')  # opencode quotes the words it is given
    return None


def _read_text(message: Json) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)
