"""A strategy module whose import fails in the way named by STRANGER_TROUBLE."""

import os

import strangers

TROUBLE = {
    "exit": strangers.exit_with_a_word,
    "os exit": lambda _: os._exit(1),
    "segfault": strangers.SEGFAULT.act,
    "loop": strangers.spin,
    "noted loop": lambda _: (strangers.noted(os.getpid()), strangers.spin(_)),
    "native loop": strangers.hang_with_the_lock,
    "leak": strangers.leak,
    "exception": strangers.raise_ugly,
    "fork": strangers.fork_a_sleeper,
}
TROUBLE[os.environ["STRANGER_TROUBLE"]](None)
STRATEGY = strangers.CHDIR
