"""Graphs for LangGraph's server that each assistant can configure."""

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

MAX_PROPOSERS = 100  # maximum number of proposers in a layer

# Read at import: the server calls a factory on its event loop, which a file would block.
PRESET_CONFIGS = {name: MoAConfig.load(name) for name in preset_names()}


def _check_preset(name: str) -> str:
    if name not in PRESET_CONFIGS:
        raise ValueError(f"no preset {name!r}; expected one of: {', '.join(PRESET_CONFIGS)}")
    return name


def _drop_null_from_schema(schema: dict[str, Any]) -> None:
    """Remove `null` from the schema of an optional field, because forms cannot show it."""
    for field in schema["properties"].values():
        field.update(field.pop("anyOf", [{}])[0])


class Settings(BaseModel):
    """Settings of an assistant; empty fields have the value of the preset."""

    model_config = ConfigDict(frozen=True, json_schema_extra=_drop_null_from_schema)

    preset: Annotated[str, AfterValidator(_check_preset)] | None = Field(
        default=None,
        description="The preset to use; by default that of the graph.",
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
        json_schema_extra={"langgraph_nodes": [AGGREGATOR]},  # Studio shows the field at that node
    )
    temperature: Temperature | None = Field(
        default=None, description="Sampling temperature of all models."
    )
    samples: Samples | None = Field(default=None, description="Number of samples of each proposer.")

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
    """Create a graph factory of a mixture for `langgraph.json`.

    Each assistant can set `preset`, `models`, `aggregator`, `temperature` and `samples` in its
    `config.configurable` or its `context`. Studio shows them as fields.

    Args:
        source: Name of a preset, or path of a TOML file, as in `MoAConfig.load`.
        answer_only: Whether the output is only the text of the answer, in `answer`, instead of the
            conversation and the proposals. The MCP endpoint of the server sends its clients the
            whole output; its A2A endpoint needs the conversation.

    Returns:
        A function that takes the config of the server or no argument and returns the graph. It
        raises a `ValueError` that names the field if a value is invalid.

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
    """Create the settings class with this preset as its default."""
    field = copy(Settings.model_fields["preset"])
    field.default = preset
    return create_model("Settings", __base__=Settings, preset=(str | None, field))


def _apply_settings(own: MoAConfig, values: dict[str, Any]) -> MoAConfig:
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    mixture = PRESET_CONFIGS[settings.preset] if settings.preset else own
    return mixture.override(**settings.model_dump(exclude={"preset"}))
