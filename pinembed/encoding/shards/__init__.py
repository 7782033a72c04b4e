"""Encoding in shards, each with a receipt, on this machine or on a cluster."""
