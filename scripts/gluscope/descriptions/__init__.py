"""What others say of a run's neurons, in words: their files read, and kept as one of the run's own."""
