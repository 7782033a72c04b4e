"""Floor 3: losses, batches and the training loop's parts."""
