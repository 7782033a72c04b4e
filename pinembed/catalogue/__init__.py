"""Floor 2: DATA folder to items, texts and splits."""
