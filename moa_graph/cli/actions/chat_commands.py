"""Slash commands of a chat."""

import inspect
import shlex
from collections.abc import Awaitable, Callable, Iterable

import typer

from moa_graph.cli.actions.chat_session import ChatSession
from moa_graph.cli.actions.fork import ForkOptions, apply_fork_options
from moa_graph.cli.actions.show import print_proposal
from moa_graph.cli.actions.transcript import save_transcript
from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.console import print_table
from moa_graph.cli.terminal.tables import build_models_table, print_calls
from moa_graph.cli.terminal.text import print_run
from moa_graph.config.model import MoAConfig, preset_names
from moa_graph.graph.node_names import AGGREGATOR, layer_name, proposer_node_name
from moa_graph.runs.record import read_run
from moa_graph.runs.stored_threads import require_config

HELP_TEXT = """\
  /model                 show the mixture
  /model PRESET          use another mixture: a name of `moa presets`
  /model NAME=p:model    use another model for a proposer or the aggregator
  /show                  the calls behind the last answer: seconds, tokens, cost
  /show NAME             one proposal, compared with the answer
  /show all              all proposals
  /redo                  answer the last question again, or continue a stopped or failed run
  /redo LAYER            the same from layer_2, ... or aggregator on; earlier layers stay
  /undo                  remove the last question, and its answer if it has one
  /fork                  continue in a new thread, with the conversation so far
  /save FILE             save the conversation as Markdown, or as JSON if FILE ends in .json;
                         --force after FILE overwrites it
  /quit                  or Ctrl-D
  //...                  a question that begins with a slash

  Enter sends. Alt+Enter, or a backslash at the end of a line, starts a new line.
  Ctrl-C stops an answer; at the prompt it clears the line. Tab completes commands."""


class ChatCommands:
    """The commands of a chat; each has a method that takes its arguments."""

    def __init__(self, chat: ChatSession) -> None:
        self._chat = chat
        self._handlers: dict[str, Callable[..., Awaitable[None]]] = {
            "help": self._print_help,
            "model": self._show_or_set_model,
            "show": self._show_run,
            "redo": chat.redo,
            "undo": chat.undo,
            "fork": chat.fork,
            "save": self._save_transcript,
        }

    async def run(self, line: str) -> bool:
        """Run a command, and return whether the chat continues.

        Raises:
            CommandError: If the command fails.
        """
        try:
            name, *words = shlex.split(line[1:]) or [""]
        except ValueError as error:
            raise CommandError(f"{line}: {error}") from None
        if name in {"quit", "exit"}:
            return False
        if not (command := self._handlers.get(name)):
            names = ", ".join(f"/{each}" for each in [*self._handlers, "quit"])
            raise CommandError(
                f"no command /{name}; expected one of: {names}; a question that begins with a "
                "slash has two"
            )
        try:
            inspect.signature(command).bind(*words)
        except TypeError:
            raise CommandError(f"/{name} {' '.join(words)}: see /help") from None
        await command(*words)
        return True

    def complete_line(self, line: str) -> Iterable[str]:
        """Return the possible completions of a line."""
        name, *rest = line[1:].split(" ")
        mixture = self._chat.mixture
        if not rest:
            return [f"/{each}" for each in [*self._handlers, "quit"]]
        proposers = [agent for row in mixture.layers for agent in row]
        match name:
            case "model":
                agents = [f"{each}=" for each in dict.fromkeys([AGGREGATOR, *proposers])]
                return [*preset_names(), *agents]
            case "show":
                return [*_proposer_nodes(mixture), "all"]
            case "redo":
                return [
                    *(layer_name(number + 1) for number in range(len(mixture.layers))),
                    AGGREGATOR,
                ]
            case _:
                return []

    async def _print_help(self) -> None:
        typer.echo(HELP_TEXT)

    async def _show_or_set_model(self, *words: str) -> None:
        """Show the mixture, or change it."""
        mixture = self._chat.mixture
        for word in words:
            name, separator, model = word.partition("=")
            if not separator:
                mixture = _load_preset(name)
            elif name == AGGREGATOR:
                mixture = _apply_chat_options(mixture, ForkOptions("layer_1", model, (), ()))
            else:
                mixture = _apply_chat_options(mixture, ForkOptions("layer_1", None, (word,), ()))
        require_api_keys(mixture)
        mixture.graph(lazy=False)  # report errors now, not at the next question
        self._chat.mixture = mixture
        rows = [
            (f"layer {number}", name, _format_model(agent.label, agent.samples))
            for number, row in enumerate(mixture.layers, 1)
            for name, agent in row.items()
        ]
        rows.append((AGGREGATOR, "", mixture.aggregator.label))
        print_table(lambda width: build_models_table(rows, width))

    async def _show_run(self, name: str = "") -> None:
        """Print the calls behind the last answer, or a proposal."""
        chat = self._chat
        thread = await chat.read_current_thread()
        values = await chat.read_state_values(thread)
        if name == "all":
            print_run(values)
        elif name:
            print_proposal(values, name)
        else:
            prices = require_config(thread).prices
            print_calls(read_run(values, prices=prices, order=values["proposals"]))

    async def _save_transcript(self, *words: str) -> None:
        """Save the conversation to a file."""
        files = [word for word in words if word != "--force"]
        if len(files) != 1:
            raise CommandError("/save: expected the name of one file")
        thread = await self._chat.read_current_thread()
        path = save_transcript(files[0], thread, force="--force" in words)
        self._chat.print_notice(f"saved in {path}", always=True)


def _load_preset(name: str) -> MoAConfig:
    if name not in preset_names():
        names = ", ".join(preset_names())
        raise CommandError(
            f"/model: no preset {name!r}; expected NAME=provider:model or one of: {names}"
        )
    return MoAConfig.load(name)


def _apply_chat_options(mixture: MoAConfig, options: ForkOptions) -> MoAConfig:
    """Change a mixture; rewrite error messages for chat commands."""
    try:
        return apply_fork_options(mixture, options, 1)
    except CommandError as error:
        raise CommandError(
            str(error).replace("--", "/", 1).replace(" from layer_1 on", "")
        ) from None


def _format_model(label: str, samples: int) -> str:
    return label if samples == 1 else f"{label} ({samples} samples)"


def _proposer_nodes(mixture: MoAConfig) -> list[str]:
    rows = enumerate(mixture.layers, 1)
    return [proposer_node_name(number, name) for number, row in rows for name in row]
