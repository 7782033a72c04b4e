"""A home folder: sealed generations of encoder, table, source, model and report, and the link to the one in use."""
