"""Embeddings and positives to figures with intervals."""
