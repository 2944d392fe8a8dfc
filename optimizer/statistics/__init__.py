"""What luck can do: intervals of a Sharpe ratio, its deflation by the number of trials, the chance of overfitting."""
