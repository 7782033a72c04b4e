"""Image file to pixels."""
