"""The web page, its JSON API and its Prometheus metrics.

One poller reads the status; a request never starts a look of its own at the queue.
"""
