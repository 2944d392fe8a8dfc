"""The candles that the simulator serves: generated from a seed or replayed from files.

A source never knows which protocol asks for its candles.
"""
