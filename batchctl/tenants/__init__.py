"""The tenants: their file, what is wrong with it, and what is written from it."""
