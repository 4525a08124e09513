"""The machinery of the batch: everything between the schedule and the stored row.

A team that uses this project never edits this package; it writes `layers/job/job.py` against
:mod:`batch_core.job`.
"""
