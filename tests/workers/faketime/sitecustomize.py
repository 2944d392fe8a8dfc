"""A correction for programs under libfaketime, which misreads the end of a Python sleep after its clock is set.

Python sleeps until a moment of the clock that only runs. Waiting for nothing lasts as long, and has no such moment.
"""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
