"""Floor 2: embeddings and right answers to figures with intervals."""
