"""Provider pages to sealed datasets: every candle accounted for, at the rate limit, safe to kill at any line."""
