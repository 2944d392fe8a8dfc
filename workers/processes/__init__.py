"""Processes of one machine: pools, restart policy, process groups and their registry.

It knows nothing of trials or runs.
"""
