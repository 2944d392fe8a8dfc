"""Forward tests of the commands: the parameters to trade, the settled candles, and the loop that follows them."""
