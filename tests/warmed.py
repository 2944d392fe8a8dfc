"""A module for fork servers: it imports what a search imports late, which takes 1.5 s in each process.

It begins no thread that a fork would miss, and does not use polars.
"""

import matplotlib.backends.backend_svg  # noqa: F401  # found by its name
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import RDBStorage

import optimizer.report.page  # noqa: F401
from optimizer.objective.warm_up import precompile
from optimizer.search.tpe import SearchAxes, load

precompile()
if axes := SearchAxes.of({"real": FloatDistribution(0.0, 1.0), "whole": IntDistribution(1, 9)}):
    load(axes)
RDBStorage("sqlite://").engine.dispose()  # alembic, and the tables' mapping
