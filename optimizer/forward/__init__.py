"""Forward tests: chosen parameters traded on paper on new candles, with a decision by a rule written before.

It reads candles through a function, downloads nothing and prints nothing.
"""
