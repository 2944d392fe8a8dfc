"""Trials on many processes and machines: the queue, its workers, and the conductor that feeds them."""
