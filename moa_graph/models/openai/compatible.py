"""Chat models of servers other than OpenAI's: what is meant for OpenAI does not reach them.

The openai client and LangChain read headers, a proxy and a protocol from variables of the
environment that are named after OpenAI, and guess from the name of a model what OpenAI's own model
of that name takes.
"""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from langchain_openai import ChatOpenAI
from openai import Omit

OPENAI_HOST = "api.openai.com"

COMPATIBLE_OPTIONS = {"openai_proxy": None, "use_responses_api": False}
"""What such a chat model is built with, beside the options of its agent."""


class CompatibleChatOpenAI(ChatOpenAI):
    """A `ChatOpenAI` that sends what it is given, whatever its model is called."""

    def _get_request_payload(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # Past ChatOpenAI's own, which calls the system "developer" for models named o1, o3, ...
        return super(ChatOpenAI, self)._get_request_payload(*args, **kwargs)


def is_openai_address(url: str | None) -> bool:
    """Whether OpenAI itself is asked, such as at a regional address; `None` stands for it."""
    host = urlsplit(url).hostname if url else OPENAI_HOST
    return host == OPENAI_HOST or str(host).endswith(f".{OPENAI_HOST}")


def use_given_options(model: Any, options: Mapping[str, Any]) -> None:
    """Free a chat model from what was taken from the environment and guessed from its name.

    Args:
        model: A `ChatOpenAI`, or what is built upon it; it is changed.
        options: What it was built with.
    """
    model.temperature = options.get("temperature")
    model.openai_organization = None
    drop_environment_headers(model)


def drop_environment_headers(model: Any) -> None:
    """Free the clients of a chat model from the headers that the environment names for OpenAI.

    Args:
        model: A chat model of the `langchain-openai` family, at somebody else's server.
    """
    if root := model.root_client:
        model.root_client = root.copy(default_headers=_environment_headers(root.api_key))
        model.client = model.root_client.chat.completions
    if root := model.root_async_client:
        model.root_async_client = root.copy(default_headers=_environment_headers(root.api_key))
        model.async_client = model.root_async_client.chat.completions


def _environment_headers(api_key: str | None) -> dict[str, Any]:
    """Leave out the headers that the openai client takes from the environment."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    custom = [line.partition(":")[0].strip() for line in lines if ":" in line]
    names = {"OpenAI-Organization", "OpenAI-Project", *custom}
    headers: dict[str, Any] = {n: Omit() for n in names if n.lower() != "authorization"}
    if len(headers) < len(names) and api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers
