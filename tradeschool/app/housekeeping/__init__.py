"""Removes old runs and caches, and says what that frees; it never touches candles or a run that is running."""
