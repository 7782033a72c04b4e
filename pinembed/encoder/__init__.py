"""Pixels and texts to embeddings. open_clip's formats in, open_clip's formats out."""
