"""A fast path to OpenAI-compatible servers: shared HTTP clients and lean completions."""
