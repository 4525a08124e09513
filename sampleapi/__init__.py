"""The outside API of local runs and tests: a real HTTP server whose behaviour is programmed."""
