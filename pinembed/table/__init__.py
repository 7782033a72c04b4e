"""Floor 2: embedding to table row (LanceDB)."""
