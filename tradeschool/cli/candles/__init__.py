"""Commands that download, inspect, repair, import and export candles, and simulate the providers.

They never search or run a strategy, except `fetch --optimize`, which hands the search to `app`.
"""
