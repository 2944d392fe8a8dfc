"""Statistics of selection bias: Sharpe ratio inference, deflation, bootstrap and overfitting probability."""
