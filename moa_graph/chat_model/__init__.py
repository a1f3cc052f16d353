"""`ChatMoA`: a mixture as a LangChain chat model."""
