"""For programs under libfaketime: it takes the moment until which Python sleeps for one of a clock that is set.

Python sleeps until a moment of the clock that only runs. Waiting for nothing lasts as long, and has no such moment.
"""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
