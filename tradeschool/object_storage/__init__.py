"""Object storage: a client of S3, Google Cloud Storage and Azure, and a bounded local cache of what it holds.

It knows neither candles nor seals, and no message contains a credential.
"""
