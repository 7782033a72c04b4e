"""Source shard to soft tokens to answer: the Qwen3-VL without its vision tower."""
