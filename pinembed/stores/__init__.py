"""Places in object stores: addresses, options, the stores themselves, and what they answer in sentences."""
