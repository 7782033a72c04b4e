"""A probe process that crashes, as a backend's own code may."""

import os
import signal

os.kill(os.getpid(), signal.SIGSEGV)
