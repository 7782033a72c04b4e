"""DATA folder to items, texts and splits."""
