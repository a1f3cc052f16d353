"""A provider for `moa_graph`: models behind a company's gateway, `gateway:MODEL`.

The gateway uses OpenAI's protocol, listens at `GATEWAY_URL`, and requires the name of the team.
"""

import os
from typing import Any

from langchain_core.language_models import BaseChatModel

from moa_graph.models.providers import Provider


def build_chat_model(model: str, **options: Any) -> BaseChatModel:
    from langchain_openai import ChatOpenAI  # slow to import, so only when a model is built

    options.setdefault("base_url", os.environ.get("GATEWAY_URL", "http://localhost:4000/v1"))
    headers = {"X-Team": os.environ.get("GATEWAY_TEAM", "research")}
    return ChatOpenAI(model=model, default_headers=headers, stream_usage=True, **options)


GATEWAY = Provider(
    name="gateway",
    build=build_chat_model,
    key_variable="GATEWAY_API_KEY",
    supports_response_format=True,
    price_provider="openai",  # it charges OpenAI's list prices
)
