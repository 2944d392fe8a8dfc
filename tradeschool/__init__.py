"""The domain that all packages share: markets, candles, the store, settings and errors.

It never imports another package, except in its command line: `cli`, `app` and `views`.
"""
