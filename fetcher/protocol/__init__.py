"""The provider protocol: pages, requests and access, and the parser that answers of trades share.

It never names a provider.
"""
