"""The command `moa presets`: its options."""

from moa_graph.cli.registration import MIXTURES_PANEL

PANEL = MIXTURES_PANEL
EXAMPLES: tuple[str, ...] = ()


def presets() -> None:
    """List the presets and the keys or servers that they need."""
    from moa_graph.cli.choice import list_presets

    list_presets()
