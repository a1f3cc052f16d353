"""Which mixture is asked."""

import os
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from moa_graph.cli.errors import CommandError
from moa_graph.config import MoAConfig, preset_names
from moa_graph.models import KEYS


@dataclass(frozen=True)
class Choice:
    """The options --preset and --config."""

    preset: str | None
    config: Path | None

    @property
    def made(self) -> bool:
        """Whether one of them was given."""
        return bool(self.preset or self.config)

    def load(self) -> MoAConfig:
        """Load the mixture that was chosen, or the one whose key is set."""
        if self.preset and self.config:
            raise CommandError("give --preset or --config, not both")
        if self.config:
            return MoAConfig.load(self.config.expanduser())
        if self.preset and self.preset not in preset_names():
            raise CommandError(
                f"--preset: no preset {self.preset!r}; expected one of: {', '.join(preset_names())}"
            )
        return MoAConfig.load(self.preset or _default())


def list_presets() -> None:
    """Print the presets, with what each needs."""
    table = Table("preset", "proposers", "aggregator", "needs", box=None, pad_edge=False)
    for name in preset_names():
        mixture = MoAConfig.load(name)
        agents = [agent for layer in mixture.layers for agent in layer.values()]
        widths = (sum(agent.samples for agent in layer.values()) for layer in mixture.layers)
        keys = [
            f"{key} ({'' if os.environ.get(key) else 'not '}set)" for key in mixture.required_keys()
        ]
        servers = sorted({agent.base_url for agent in agents if agent.base_url})
        needs = ", ".join([*keys, *servers]) or "nothing"
        table.add_row(name, " + ".join(map(str, widths)), mixture.aggregator.label, needs)
    Console(soft_wrap=True).print(table)


def _default() -> str:
    for provider in ("together", "openai"):
        if os.environ.get(KEYS[provider]):
            return provider
    typer.echo(
        "moa: neither TOGETHER_API_KEY nor OPENAI_API_KEY is set; using preset 'offline', which "
        "quotes from the text it is given and is no language model",
        err=True,
    )
    return "offline"
