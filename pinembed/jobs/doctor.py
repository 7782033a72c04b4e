"""The doctor job: what is installed, what the machine can do, and what to do about what is wrong."""
