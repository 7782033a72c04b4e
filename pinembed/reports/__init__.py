"""What the jobs return."""
