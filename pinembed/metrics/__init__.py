"""Embeddings and right answers to figures with intervals."""
