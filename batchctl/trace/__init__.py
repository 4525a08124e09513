"""A run's timeline, rebuilt from the workflow's log and the functions' lines."""
