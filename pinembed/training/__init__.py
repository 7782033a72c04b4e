"""Losses, batches and the training loop's parts."""
