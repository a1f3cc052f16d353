"""Many prompts: a file of them answered, in order, resumable, within a budget."""
