"""The commands and their options, one file a command. They import what they run when they run."""
