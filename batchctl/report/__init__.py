"""The page of a run: one file that opens from disk and asks nothing of any network."""
