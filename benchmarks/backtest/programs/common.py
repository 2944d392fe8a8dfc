"""What every peer's program does besides trading: read the task, run on request, say how long it took.

A task is an .npz: time, open, high, low, close (a bar a place), signal (+1, -1, 0 at a bar's close), and stop and
target, the distances from the fill. The program answers each line on standard input with one JSON line.
"""

import json
import sys
import time

import numpy as np


def serve(prepare, run):
    """`prepare(task)` once; then for each line `run(prepared)`, timed, which returns trades as columns."""
    prepared = prepare(dict(np.load(sys.argv[1])))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        began = time.process_time()
        trades = run(prepared)  # all of it on one core: processor time does not count what others do meanwhile
        seconds = time.process_time() - began
        if line.strip() == "trades":
            np.savez(sys.argv[2], **trades)
        print(json.dumps({"seconds": seconds, "trades": len(trades["entry_bar"])}), flush=True)
