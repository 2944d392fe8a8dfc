"""Optimizer: backtests, parameter search, the curriculum of levels, validation and reports."""
