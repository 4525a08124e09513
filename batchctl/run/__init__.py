"""One run of the batch seen from outside: what it used, what became of the users, what it costs."""
