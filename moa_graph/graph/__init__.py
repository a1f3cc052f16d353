"""Mixtures as LangGraph graphs: builder, nodes, state, quorum and deadlines."""
