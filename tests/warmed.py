"""A module for fork servers: it imports what a search imports late, which takes 1.5 s in each process.

It begins no thread that a fork would miss, and does not use polars.
"""

from contextlib import suppress

import matplotlib.backends.backend_svg  # noqa: F401  # found by its name
import pyarrow.parquet  # noqa: F401
from matplotlib import font_manager
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import RDBStorage

import optimizer.report.page as report
from optimizer.objective.warm_up import precompile
from optimizer.report.plots.curves import draw_search
from optimizer.search.tpe import SearchAxes, load
from tests.revisions import keep_revisions
from workers.processes import process_group

with suppress(ImportError):  # pyarrow imports it where it is there
    import pandas as pd  # noqa: F401
precompile()
if axes := SearchAxes.of({"real": FloatDistribution(0.0, 1.0), "whole": IntDistribution(1, 9)}):
    load(axes)
keep_revisions()
RDBStorage("sqlite://").engine.dispose()  # alembic, and the tables' mapping
draw_search([])  # matplotlib's fonts and marks
font_manager._get_font.cache_clear()  # in a fork matplotlib closes them itself, when their numbers are other files'
report._environment().get_template(report.TEMPLATE)
process_group.SERIAL_SECONDS = 600.0  # its processes are interpreters, and their imports take longer than a test's work
