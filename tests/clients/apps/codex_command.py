# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# npm: @openai/codex
"""Codex: an agent in the terminal that speaks Responses."""

import probe
import program

program.write_setting(".codex/config.toml", program.read_settings("Codex"))
EXEC = ("codex", "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access")


def stream() -> None:
    probe.expect_answer(program.run(*EXEC, probe.QUESTION))


def tool() -> None:
    call = '[[call: exec_command {"cmd": "echo 21 degrees in Oslo"}]]'
    probe.expect_tool_answer(program.run(*EXEC, f"How warm is it? {call}"))


program.report(("codex", "--version"), stream, tool)
