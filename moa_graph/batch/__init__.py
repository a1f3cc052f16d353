"""`moa batch`: answer a file of prompts in order, resumable and within a budget."""
