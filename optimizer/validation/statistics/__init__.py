"""Published statistics: alpha, p-values, bootstrap, cross-validation, overfitting and the deflated Sharpe ratio.

They work on arrays of numbers and never know a level or a trial.
"""
