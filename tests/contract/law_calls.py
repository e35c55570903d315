"""What the workers of the contract tests call; workers import this, so it imports little."""

from __future__ import annotations

import os
import signal
from typing import Any


def act(action: tuple[str, Any]) -> Any:
    """Do as told: the same in a loop, a thread and a process."""
    kind, argument = action
    match kind:
        case "return":
            return argument
        case "size":
            return bytes(argument)
        case "raise":
            raise ValueError(argument)
        case "stop":
            raise StopIteration
        case "exit":
            raise SystemExit(argument)
        case "interrupt":
            raise KeyboardInterrupt
    raise AssertionError(kind)


def act_or_die(action: tuple[str, Any]) -> Any:
    """Do as told, also to die."""
    if action[0] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return act(action)
