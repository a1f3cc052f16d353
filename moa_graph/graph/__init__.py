"""The mixture as a LangGraph graph: builder, nodes, state, quorum and deadlines."""
