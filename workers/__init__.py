"""Distributed search over Redis: queue, workers, coordinator, monitoring and web page.

It never knows a provider and never prints.
"""
