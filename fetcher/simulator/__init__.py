"""A loopback exchange with the candle APIs of the providers, rate limits and faults.

It is for demos and tests and never shares code with the client side.
"""
