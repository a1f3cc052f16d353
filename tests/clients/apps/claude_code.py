# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# npm: @anthropic-ai/claude-code
"""Claude Code: an agent in the terminal that speaks Messages."""

import probe
import program

SETTINGS = program.read_variables("Claude Code") | {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


def stream() -> None:
    probe.expect_answer(program.run("claude", "-p", probe.QUESTION, **SETTINGS))


def tool() -> None:
    call = '[[call: Bash {"command": "echo 21 degrees in Oslo", "description": "Say"}]]'
    command = ("claude", "-p", f"How warm is it? {call}", "--allowedTools", "Bash")
    probe.expect_tool_answer(program.run(*command, **SETTINGS))


program.report(("claude", "--version"), stream, tool)
