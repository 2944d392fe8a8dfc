"""Trials of one study: requests, open jobs, committed results.

It knows neither levels nor runs.
"""
