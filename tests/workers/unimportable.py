"""A strategy's module that cannot be imported, in the way that IMPORT_FAULT says."""

import os

import misbehaving

FAULTS = {
    "exit": misbehaving.exit_with_a_word,
    "os exit": lambda _: os._exit(1),
    "segfault": misbehaving.SEGFAULT.act,
    "loop": misbehaving.spin,
    "noted loop": lambda _: (misbehaving.noted(os.getpid()), misbehaving.spin(_)),
    "native loop": misbehaving.hang_with_the_lock,
    "leak": misbehaving.leak,
    "exception": misbehaving.raise_ugly,
    "fork": misbehaving.fork_a_sleeper,
}
FAULTS[os.environ["IMPORT_FAULT"]](None)
STRATEGY = misbehaving.CHDIR
