"""Embedding to table row (LanceDB)."""
