"""The worker: takes jobs from the queue, evaluates trials in a work horse and returns results.

It never opens the study's database and never imports a strategy that is not allowed.
"""
