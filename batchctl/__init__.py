"""The command line of express-batch: the local cloud, and runs on it or on a deployed stack."""
