"""Image and metadata in one item vector: which weights, and how much they gain."""
