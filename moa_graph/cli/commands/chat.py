"""The command `moa chat`: its options."""

from moa_graph.cli.options import (
    BaseUrlOption,
    ConfigOption,
    DatabaseOption,
    PresetOption,
    ProgressOption,
    ReasoningEffortOption,
    ThreadOption,
)
from moa_graph.cli.registration import ASK_PANEL
from moa_graph.cli.startup import show_startup_notice

PANEL = ASK_PANEL
EXAMPLES = (
    "moa chat --preset ollama",
    "moa chat --thread sky",
    "moa chat < questions.txt > answers.txt",
)


def chat(
    preset: PresetOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    reasoning_effort: ReasoningEffortOption = None,
    thread: ThreadOption = None,
    db: DatabaseOption = None,
    progress: ProgressOption = None,
) -> None:
    """Talk with a mixture: every question sees what was said before.

    Commands begin with a slash: /help lists them. Where standard input is no terminal, each
    line is a question, and the answers go to standard output.
    """
    from moa_graph.cli.choice import load_mixture

    mixture = None
    if preset or config or base_url or reasoning_effort:
        mixture = load_mixture(preset, config, base_url)
        mixture = mixture.override(reasoning_effort=reasoning_effort)
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.chat import run_chat
        from moa_graph.cli.actions.run import OutputOptions

    run_chat(mixture, thread, db, OutputOptions(progress=progress))
