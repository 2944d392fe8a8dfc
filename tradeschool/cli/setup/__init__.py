"""Commands for a new installation: show and check the settings, compile the backtest, run the demo.

They never touch candles or runs outside the demo's own folder.
"""
