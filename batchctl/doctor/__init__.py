"""Whether an account and a tenant have what the batch needs: facts gathered, then judged."""
