"""The curriculum: levels, attempts, inheritance between levels and the state machine of a run.

It decides what comes next and never runs a search itself.
"""
