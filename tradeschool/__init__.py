"""Shared domain: markets, candles, dataset store, settings, errors and logging; imports no other package of ours."""
