"""Floor 1: frozen dataclasses and protocols that cross module borders. Nothing here does any work."""
