"""What an encoder is asked, and what it answers."""
