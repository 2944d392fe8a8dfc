"""The HTTP client of one provider: rate limits, retries, pauses and request statistics.

It never interprets a candle and never writes a file.
"""
