"""Create a mixture of the models that a server offers, for `moa ask --base-url`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.plain_text import print_warning, strip_control_characters
from moa_graph.config.model import MoAConfig, format_validation_error
from moa_graph.connection_failures import describe_connection_failure
from moa_graph.models.agent import Agent
from moa_graph.models.endpoints import extend_url

SAMPLES = 3  # samples of a single model
MAX_PROPOSERS = 6  # as in the paper: some servers list hundreds of models
LISTING_TIMEOUT_S = 10.0  # seconds for the list of models
_KEY_STATUSES = {401, 403}
_KEY_ADVICE = (
    "it requires a key: name its variable in a TOML file (--config) as `api_key_env` beside "
    "`base_url`"
)
_NOT_FOR_CHAT = re.compile(r"embed|rerank|whisper|\btts\b|moderation", re.IGNORECASE)


def load_served_mixture(base_url: str) -> MoAConfig:
    """Create a mixture of the models that a server lists, and print it.

    Several models propose one answer each, `MAX_PROPOSERS` at most, and the first of them
    aggregates. A single model proposes several answers.

    Args:
        base_url: Address of an OpenAI-compatible API, such as `http://localhost:8080/v1`.

    Raises:
        CommandError: If no server answers, or it serves no chat models.
    """
    url = _check_url(base_url.strip().rstrip("/"))
    served = _list_models(url)
    models = served[:MAX_PROPOSERS]
    agents = [{"model": f"openai:{model}", "base_url": url} for model in models]
    proposers = agents if len(agents) > 1 else [agents[0] | {"samples": SAMPLES}]
    try:
        mixture = MoAConfig.model_validate(
            {"name": "served", "layers": [proposers], "aggregator": agents[0]}
        )
    except ValueError as error:
        raise CommandError(f"--base-url {base_url}: {error}") from None
    print_warning(strip_control_characters(f"moa: {url} serves {_describe_plan(served)}"))
    return mixture


def _describe_plan(served: Sequence[str]) -> str:
    """Describe the served models and their roles."""
    models = served[:MAX_PROPOSERS]
    names = ", ".join(models)
    if len(models) == 1:
        return f"{names}: it proposes {SAMPLES} times and aggregates"
    if len(served) == len(models):
        return f"{names}: each proposes, {models[0]} aggregates"
    return (
        f"{len(served)} models: the first {len(models)} propose ({names}), {models[0]} "
        "aggregates; a TOML file names others (--config)"
    )


def _check_url(url: str) -> str:
    """Reject an invalid address, or one with a password, before it is used or shown."""
    try:
        Agent.model_validate({"model": "openai:any", "base_url": url})
    except ValidationError as error:
        message = format_validation_error(error).removeprefix("base_url: ")
        raise CommandError(f"--base-url: {message}") from None
    if not url:
        raise CommandError("--base-url: expected a URL, such as 'http://localhost:8080/v1'")
    return url


def _list_models(url: str) -> list[str]:
    """Request the models of a server; keep chat models if the names tell."""
    listed = _request_models(url).get("data")
    entries = listed if isinstance(listed, list) else []
    ids = [each.get("id") for each in entries if isinstance(each, Mapping)]
    models = list(dict.fromkeys(each for each in ids if isinstance(each, str) and each.strip()))
    if not models:
        raise CommandError(f"--base-url {url}: the server serves no model")
    return [each for each in models if not _NOT_FOR_CHAT.search(each)] or models


def _request_models(url: str) -> Mapping[str, Any]:
    import httpx2

    from moa_graph.models.openai.aiohttp_transport import check_certificates, check_proxies

    models_url = extend_url(url, "/models")
    try:
        check_certificates()
        check_proxies()
    except (ImportError, ValueError) as error:
        raise CommandError(str(error)) from None
    try:
        answer = httpx2.get(models_url, timeout=LISTING_TIMEOUT_S).raise_for_status().json()
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise CommandError(
            f"--base-url {url}: the server answered {models_url} with status {status}; "
            f"{_KEY_ADVICE if status in _KEY_STATUSES else _expect_address(url)}"
        ) from None
    except httpx2.RequestError as error:  # no connection, too many redirects, wrong encoding
        reason = describe_connection_failure(error) or type(error).__name__
        raise CommandError(f"--base-url {url}: no server answers there: {reason}") from None
    except ValueError:
        answer = None
    if not isinstance(answer, Mapping):
        raise CommandError(
            f"--base-url {url}: {models_url} is not a list of models; {_expect_address(url)}"
        )
    return answer


def _expect_address(url: str) -> str:
    hint = "" if re.search(r"/v\d", url) else f"; did you mean {extend_url(url, '/v1')}?"
    return (
        f"expected the address of an OpenAI-compatible API, such as http://localhost:8080/v1{hint}"
    )
