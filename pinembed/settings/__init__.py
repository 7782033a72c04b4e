"""What each command is asked for: one frozen class a command, read by the command line, its job and Python callers."""
