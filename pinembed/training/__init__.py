"""Floor 2: losses, batches and the training loop's parts."""
