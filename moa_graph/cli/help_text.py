"""Help texts of groups of commands: the commands under headings, with whole sentences."""

from typing import Any

from typer.core import TyperGroup


class HelpGroup(TyperGroup):
    """A group of commands whose help lists them under the headings of their modules."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with the first paragraph of their help."""
        del ctx
        rows = dict[str, list[tuple[str, str]]]()
        for name, command in self.commands.items():
            if not command.hidden:
                heading = getattr(command, "rich_help_panel", None) or "Commands"
                rows.setdefault(heading, []).append((name, _first_paragraph(command)))
        for heading, commands in rows.items():
            with formatter.section(heading):
                formatter.write_dl(commands)


def _first_paragraph(command: Any) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())
