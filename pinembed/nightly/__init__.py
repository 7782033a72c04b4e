"""What a nightly refresh decides, checks and remembers; the job `refresh` calls the other jobs with it."""
