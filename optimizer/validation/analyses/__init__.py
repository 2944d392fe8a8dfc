"""Analyses of a winner: skill, stress, robustness, sensitivity, regimes, similarity and the null test.

An analysis never decides, and reads no candles of the holdout period.
"""
