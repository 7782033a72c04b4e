"""Floor 3: image file to pixels."""
