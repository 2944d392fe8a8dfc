"""A run from its first level to its recommendation: levels, verdicts, evidence, result files, replayed trials.

It leaves the trials of a study to `study`.
"""
