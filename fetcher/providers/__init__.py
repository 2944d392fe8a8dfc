"""Providers: one module per API, each with a constant `PROVIDER`. They contain no download logic."""
