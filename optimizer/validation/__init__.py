"""The verdict on a finished search: winner, gate, evidence, checks and recommendation.

It never changes a trial, and logs every look at candles outside train before the look.
"""
