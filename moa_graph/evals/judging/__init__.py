"""Have answers judged, as each benchmark does: prompts as published, judgements stored."""
