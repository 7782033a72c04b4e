"""Floor 2: image file to pixels."""
