"""Try the workflow's states one by one on Step Functions itself, with mocked functions."""
