"""Frozen dataclasses and protocols that cross module borders. Nothing here does any work."""
