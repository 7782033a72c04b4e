"""Floor 2: retrieval metrics."""
