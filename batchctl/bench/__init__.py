"""Measures the batch against other ways to do the same work, on one machine, in one run."""
