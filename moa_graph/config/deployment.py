"""A mixture as a graph for LangGraph's server, where every assistant may configure it."""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal, overload

from langchain_core.runnables import RunnableConfig
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
)

from moa_graph.config.model import MoAConfig, format_validation_error, preset_names
from moa_graph.graph.answer_only import CompiledAnswerGraph, compile_answer_only
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.models.agent import Samples, Temperature

MAX_PROPOSERS = 100  # the most proposers that a layer may be given

# Read at once, for the server calls a factory where reading a file would hold up all runs.
PRESET_CONFIGS = {name: MoAConfig.load(name) for name in preset_names()}


def _check_preset(name: str) -> str:
    if name not in PRESET_CONFIGS:
        raise ValueError(f"no preset {name!r}; expected one of: {', '.join(PRESET_CONFIGS)}")
    return name


def _drop_null_from_schema(schema: dict[str, Any]) -> None:
    """Show a field that may be empty as what it holds otherwise: a form has no null."""
    for field in schema["properties"].values():
        field.update(field.pop("anyOf", [{}])[0])


class Settings(BaseModel):
    """What an assistant may configure; what is left empty is the preset's own."""

    model_config = ConfigDict(frozen=True, json_schema_extra=_drop_null_from_schema)

    preset: Annotated[str, AfterValidator(_check_preset)] | None = Field(
        default=None,
        description="The mixture to begin with; by default the graph's own.",
        json_schema_extra={"enum": list(PRESET_CONFIGS)},
    )
    models: Annotated[list[str], Field(max_length=MAX_PROPOSERS)] | None = Field(
        default=None,
        description="The proposers of every layer: each 'provider:model', such as "
        "'openai:gpt-6.1-sol', or the name of a proposer of the preset.",
    )
    aggregator: str | None = Field(
        default=None,
        description="The model that writes the final answer: 'provider:model', or the name of a "
        "proposer of the preset.",
        json_schema_extra={"langgraph_nodes": [AGGREGATOR]},  # Studio shows it at that node
    )
    temperature: Temperature | None = Field(
        default=None, description="Sampling temperature of all models."
    )
    samples: Samples | None = Field(
        default=None, description="How many times each proposer is asked, side by side."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value in ("", []) else value


@overload
def deployable(
    source: str | Path, *, answer_only: Literal[False] = False
) -> Callable[..., CompiledMoAGraph]: ...
@overload
def deployable(
    source: str | Path, *, answer_only: Literal[True]
) -> Callable[..., CompiledAnswerGraph]: ...
def deployable(source: str | Path, *, answer_only: bool = False) -> Callable[..., Any]:
    """Make a mixture a graph that `langgraph.json` can name.

    Each assistant may set `preset`, `models`, `aggregator`, `temperature` and `samples` in its
    `config.configurable` or its `context`; Studio shows them as fields.

    Args:
        source: Name of a preset, or path of a TOML file, as in `MoAConfig.load`.
        answer_only: Whether the output is the text of the answer alone, as `answer`, in place of
            the conversation and the proposals. The server's MCP endpoint gives its clients the
            whole output; its A2A endpoint needs the conversation.

    Returns:
        A factory: from the config that the server gives, or from none, to the compiled graph. It
        raises a `ValueError` that names the field if a value makes no sense.

    Raises:
        ValueError: If there is no such preset or file, or it is not a valid mixture.
    """
    own = MoAConfig.load(source)
    schema = _settings_for_preset(str(source)) if source in PRESET_CONFIGS else Settings

    def graph(config: RunnableConfig | None = None) -> CompiledMoAGraph | CompiledAnswerGraph:
        mixture = _apply_settings(own, (config or {}).get("configurable", {}))
        compiled = mixture.graph().compile(name=mixture.name)
        output = compile_answer_only(compiled) if answer_only else compiled
        return output.copy(update={"context_schema": schema})

    return graph


def _settings_for_preset(preset: str) -> type[Settings]:
    """Let the schema say which preset is the default."""
    field = copy(Settings.model_fields["preset"])
    field.default = preset
    return create_model("Settings", __base__=Settings, preset=(str | None, field))


def _apply_settings(own: MoAConfig, given: dict[str, Any]) -> MoAConfig:
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    mixture = PRESET_CONFIGS[settings.preset] if settings.preset else own
    return mixture.override(**settings.model_dump(exclude={"preset"}))
