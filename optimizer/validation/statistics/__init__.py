"""Published statistics: alpha, p-values, stationary bootstrap, probability of backtest overfitting and deflated Sharpe ratio.

They work on arrays of numbers and never know a level or a trial.
"""
