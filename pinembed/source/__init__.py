"""Table rows to the read-only folder that is read by item id (docs/embedding-source.md)."""
