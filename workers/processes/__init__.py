"""Processes of one machine: pools, restart policy, process groups and their registry.

It never knows what its processes compute.
"""
