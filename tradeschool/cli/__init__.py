"""One module a command group; the composition root; the only place that prints."""
