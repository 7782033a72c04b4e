"""The command line. One file a command: parse, call one job, print its report."""
