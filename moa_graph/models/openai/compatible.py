"""Chat models for servers other than OpenAI's, without OpenAI's environment settings.

The openai client and LangChain read headers, a proxy and an API version from environment variables
for OpenAI. They also derive parameters from model names, assuming OpenAI's models.
"""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from langchain_openai import ChatOpenAI
from openai import Omit

OPENAI_HOST = "api.openai.com"

COMPATIBLE_OPTIONS = {"openai_proxy": None, "use_responses_api": False}
"""Further constructor arguments of such a chat model."""


class CompatibleChatOpenAI(ChatOpenAI):
    """A `ChatOpenAI` that sends its payload unchanged for any model name."""

    def _get_request_payload(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # Skips ChatOpenAI, which renames the role "system" for models named o1, o3, ...
        return super(ChatOpenAI, self)._get_request_payload(*args, **kwargs)


def is_openai_address(url: str | None) -> bool:
    """Return whether an address is OpenAI's own, maybe a regional one; `None` stands for it."""
    host = urlsplit(url).hostname if url else OPENAI_HOST
    return host == OPENAI_HOST or str(host).endswith(f".{OPENAI_HOST}")


def use_explicit_options(model: Any, options: Mapping[str, Any]) -> None:
    """Reset fields of a chat model that came from the environment or its model name.

    Args:
        model: An instance of `ChatOpenAI` or a subclass; it is changed.
        options: Its constructor arguments.
    """
    model.temperature = options.get("temperature")
    model.openai_organization = None
    drop_environment_headers(model)


def drop_environment_headers(model: Any) -> None:
    """Remove the headers for OpenAI in the environment from the clients of a chat model.

    Args:
        model: A chat model of the `langchain-openai` family for another server.
    """
    if root := model.root_client:
        model.root_client = root.copy(default_headers=_environment_headers(root.api_key))
        model.client = model.root_client.chat.completions
    if root := model.root_async_client:
        model.root_async_client = root.copy(default_headers=_environment_headers(root.api_key))
        model.async_client = model.root_async_client.chat.completions


def _environment_headers(api_key: str | None) -> dict[str, Any]:
    """Return the client's headers from the environment as omitted headers."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    custom = [line.partition(":")[0].strip() for line in lines if ":" in line]
    names = {"OpenAI-Organization", "OpenAI-Project", *custom}
    headers: dict[str, Any] = {n: Omit() for n in names if n.lower() != "authorization"}
    if len(headers) < len(names) and api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers
