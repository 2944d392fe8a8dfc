"""Monitoring page, JSON API and Prometheus metrics.

One poller reads all sources; pages, API calls and scrapes are served from its results.
"""
