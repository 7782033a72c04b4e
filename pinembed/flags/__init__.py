"""Measures to flags: what an audit says of a content, with evidence, and what people answered."""
