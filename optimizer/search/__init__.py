"""The parameter search: sampler, study, trial table, early stopping and reproduction.

It never reads validation, test or the holdout period.
"""
