"""Source shard to soft tokens to answer: the multimodal model without its vision tower."""
