"""Samplers of Optuna and of the user, and the pruners: each a pure function of seed, number and visible trials.

It evaluates no trial and never imports a user's module while another process runs it.
"""
