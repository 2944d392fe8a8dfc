"""Analyses of a winner: stress, robustness, sensitivity, regimes, similarity and the null test.

An analysis never reads the holdout period and never decides.
"""
