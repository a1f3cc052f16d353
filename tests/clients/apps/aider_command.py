# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#     "aider-chat>=0.80",
# ]
# ///
"""aider: an editor of code in the terminal."""

import probe
import program

SETTINGS = program.read_variables("aider")
RUN = (
    *("aider", "--model", f"openai/{probe.MODEL}", "--no-git", "--yes-always"),
    *("--no-check-update", "--no-show-model-warnings", "--no-analytics", "--no-pretty"),
)


def plain() -> None:
    words = ("--no-stream", "--message", probe.QUESTION)
    probe.expect_answer(program.run(*RUN, *words, **SETTINGS))


def stream() -> None:
    probe.expect_answer(program.run(*RUN, "--message", probe.QUESTION, **SETTINGS))


program.report(("aider", "--version"), plain, stream)
