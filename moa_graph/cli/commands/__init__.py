"""Commands and their options, one file each. A command imports its action when it runs."""
