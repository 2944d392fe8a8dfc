"""What every part of tradeschool shares: words, settings, errors, candles and the store."""
