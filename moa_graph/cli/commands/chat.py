"""The command `moa chat`: its options."""

from moa_graph.cli.options import (
    BaseUrlOption,
    ConfigOption,
    DatabaseOption,
    EarlyStopOption,
    PresetOption,
    ProgressOption,
    ReasoningEffortOption,
    RunCostOption,
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
    early_stop: EarlyStopOption = None,
    max_cost: RunCostOption = None,
    thread: ThreadOption = None,
    db: DatabaseOption = None,
    progress: ProgressOption = None,
) -> None:
    """Chat with a mixture on one thread: every question sees the conversation before it.

    Commands begin with a slash; /help lists them. If standard input is not a terminal, each
    line is a question, and the answers go to standard output.
    """
    from moa_graph.cli.choice import load_mixture

    mixture = None
    changes = (reasoning_effort, early_stop, max_cost)
    if preset or config or base_url or any(each is not None for each in changes):
        mixture = load_mixture(preset, config, base_url)
        mixture = mixture.override(
            reasoning_effort=reasoning_effort, early_stop=early_stop, max_cost=max_cost
        )
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.chat import run_chat
        from moa_graph.cli.actions.run import OutputOptions

    run_chat(mixture, thread, db, OutputOptions(progress=progress))
