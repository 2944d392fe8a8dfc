"""Commands that run and monitor an installation: the whole pipeline, workers, trial queue, monitoring page.

They start processes and report on them, and never change a result.
"""
