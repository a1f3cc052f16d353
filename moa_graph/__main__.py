"""The command `moa`, as `python -m moa_graph`."""

from moa_graph.cli import main

main()
