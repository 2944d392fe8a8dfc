"""The page, its JSON API and its metrics: one poller looks, everybody else is told."""
