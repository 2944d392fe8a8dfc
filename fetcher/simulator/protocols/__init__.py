"""The server side of each provider's candle API.

A protocol never decides on faults or rate limits.
"""
