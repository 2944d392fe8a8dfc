"""The coordinator of a run: samples trials, dispatches them, commits results and concludes the run.

Only the holder of the run's lock writes to its study, and no coordinator evaluates a trial.
"""
