"""Fast clients for OpenAI-compatible servers: shared connections, fewer conversions."""
