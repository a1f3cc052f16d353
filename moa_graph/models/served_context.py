"""The context length of a model, as the server at its `base_url` reports it."""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

from moa_graph.background_thread import run_in_thread
from moa_graph.models.agent import Agent
from moa_graph.models.endpoints import extend_url, split_parameters
from moa_graph.models.providers import split_label
from moa_graph.models.traits import ModelTraits, traits_of
from moa_graph.sync_async import Step

CONTEXT_TIMEOUT_S = 2.0  # seconds that the first run waits for all servers

_CONTEXT_FIELDS = ("max_model_len", "context_length", "max_context_length", "context_window")
_OLLAMA_PARAMETER = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)


def ask_servers(agents: Sequence[Agent]) -> Step | None:
    """Create the step that requests unknown context lengths; it raises no errors.

    Each server is asked once per model in this process. A late result is used by the next run.

    Args:
        agents: The agents of the models.

    Returns:
        The step; `None` if nothing is unknown.
    """
    futures = [each for agent in agents if (each := _start_reading(agent)) and not each.done()]
    return Step(_wait_for, _await_all, (futures,)) if futures else None


def read_contexts(agents: Sequence[Agent]) -> "list[Future[None]]":
    """Start to request unknown context lengths, also from servers that were asked before.

    It raises no errors. Runs use the results too.

    Args:
        agents: The agents of the models.
    """
    unknown = {
        id(traits): (traits, agent)
        for agent in agents
        if _has_server_to_ask(agent) and not (traits := traits_of(agent)).context_tokens
    }
    return [run_in_thread(_read_into, *each) for each in unknown.values()]


def _has_server_to_ask(agent: Agent) -> bool:
    return bool(isinstance(agent.model, str) and agent.base_url and not agent.max_input_tokens)


def _start_reading(agent: Agent) -> "Future[None] | None":
    if not _has_server_to_ask(agent):
        return None
    traits = traits_of(agent)
    if traits.context_reading is None and not traits.context_tokens:
        traits.context_reading = run_in_thread(_read_into, traits, agent)
    return traits.context_reading


def _wait_for(futures: Sequence["Future[None]"]) -> None:
    wait(futures, CONTEXT_TIMEOUT_S)


async def _await_all(futures: Sequence["Future[None]"]) -> None:
    await asyncio.wait([asyncio.wrap_future(each) for each in futures], timeout=CONTEXT_TIMEOUT_S)


def _read_into(traits: ModelTraits, agent: Agent) -> None:
    try:
        traits.context_tokens = traits.context_tokens or _read_context(agent)
    except Exception:  # noqa: BLE001  # whatever it is: a run goes on without
        return


def _read_context(agent: Agent) -> int | None:
    """Ask a server: llama.cpp, vLLM and others report it in their list of models."""
    provider, name = split_label(str(agent.model))
    url = str(agent.base_url).rstrip("/")
    entry: Mapping[str, Any] = {}
    if not provider.has_ollama_api:
        listed = _request_json(agent, "GET", extend_url(url, "/models"))
        entry = _find_model(listed.get("data"), name)
        meta = entry.get("meta")
        sizes = [entry.get(field) for field in _CONTEXT_FIELDS]
        if size := _first_size([meta.get("n_ctx") if isinstance(meta, Mapping) else None, *sizes]):
            return size
    if provider.has_ollama_api or entry.get("owned_by") == "library":
        bare_url, _ = split_parameters(url)
        return _read_ollama_context(agent, bare_url.removesuffix("/v1"), name)
    return None


def _read_ollama_context(agent: Agent, url: str, name: str) -> int | None:
    """Ask Ollama: for the loaded model, or else for its model file."""
    loaded = _find_model(
        _request_json(agent, "GET", f"{url}/api/ps").get("models"), name, key="name"
    )
    if size := _first_size([loaded.get("context_length")]):
        return size
    response = _request_json(agent, "POST", f"{url}/api/show", {"model": name})
    if match := _OLLAMA_PARAMETER.search(str(response.get("parameters") or "")):
        return int(match[1])
    info = response.get("model_info")
    fields = info.items() if isinstance(info, Mapping) else ()
    return _first_size([size for field, size in fields if field.endswith(".context_length")])


def _request_json(agent: Agent, method: str, url: str, body: Any = None) -> Mapping[str, Any]:
    from moa_graph.models.openai.clients import shared_clients

    key = agent.api_key_env and os.environ.get(agent.api_key_env)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    client = shared_clients()["http_client"]
    response = client.request(method, url, json=body, headers=headers, timeout=CONTEXT_TIMEOUT_S)
    answer = response.raise_for_status().json()
    return answer if isinstance(answer, Mapping) else {}


def _find_model(models: Any, name: str, *, key: str = "id") -> Mapping[str, Any]:
    """Return a model of a list; a server with one model serves it under every name."""
    entries = [each for each in models or () if isinstance(each, Mapping)]
    named = [each for each in entries if each.get(key) in {name, f"{name}:latest"}]
    matches = named or (entries if len(entries) == 1 and key == "id" else [])
    return matches[0] if matches else {}


def _first_size(values: Sequence[Any]) -> int | None:
    return next((each for each in values if isinstance(each, int) and each > 0), None)
