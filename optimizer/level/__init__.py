"""The specification of a level: datasets, parts, costs, gate, constraints and metric names.

It only describes and never computes a result.
"""
