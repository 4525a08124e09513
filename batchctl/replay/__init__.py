"""Puts back on the stream what was put aside: what it is, where it lies, how it travels."""
