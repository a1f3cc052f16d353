"""Mixtures whose output is only the answer, for clients of the server's MCP endpoint.

`langgraph.json` lists them; the names of the graphs are the names of the tools.
"""

from moa_graph import deployable

ask_panel = deployable("together", answer_only=True)
ask_offline = deployable("offline", answer_only=True)
