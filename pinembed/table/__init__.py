"""Floor 3: embedding to table row (LanceDB)."""
