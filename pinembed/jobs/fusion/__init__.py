"""Which metadata belongs into an item's vector, and how much of it: asked honestly, on items with known answers."""
