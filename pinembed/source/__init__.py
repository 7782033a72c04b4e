"""Floor 2: table row to source shard: the EmbeddingSource folder."""
