"""Event log -> what each user likes: interests, a graph of items, recommendations with reasons (docs/taste.md)."""
