"""Functions that the tests of the command run, in a folder of their own for each test."""

import contextlib
import os
import signal
import sys
import threading
import time

from sibling import doubled

LIMIT = 3


class Shop:
    class Till:
        @staticmethod
        def price(value):
            return value * 100


def double(value):
    return doubled(value)


class Mute:
    def __repr__(self):
        raise RuntimeError("not even my name")


class Odd(dict):
    def items(self):
        raise LookupError("no items")

    __repr__ = Mute.__repr__


def no_value(value):
    return None


def stopped_at(value):
    number, last = value
    if number == last:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    while signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:  # set when the signal is handled
        time.sleep(0.001)
    return number


def long_winded(value):
    raise ValueError("x" * 10_000_000)


def same(value):
    return value


def size(path):
    return os.path.getsize(path)


def square(value):
    return value * value


def keywords(*, a, b=0):
    return a + b


def fails_for_odd(value):
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


def exits(value):
    sys.exit(f"exit from {value}")


def prints(value):
    sys.stdout.write(f"printed {value}\n")  # at once: `print` writes the newline by itself
    sys.stdout.flush()
    return value


def a_set(value):
    return {value}


def a_function(value):
    return lambda: value


def not_a_number(value):
    return float("nan")


def dies_at_5(value):
    if value == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def slowest_first(value):
    time.sleep(0.02 * (10 - value))
    return value * 10


def briefly(value):
    time.sleep(0.02)
    return value


def pid(value):
    time.sleep(0.02)
    return os.getpid()


def through_gate(value):
    """From the second input on, wait until the test opens the gate."""
    if value:
        with open("gate") as gate:
            gate.read()
    return value


def stuck_at_3(value):
    """At the fourth input, say so on standard error and never return."""
    if value == 3:
        os.write(2, b"stuck\n")
        time.sleep(600)
    return os.getpid()


def stuck_and_deaf_at_3(value):
    """As above, and swallow what is raised."""
    if value == 3:
        os.write(2, b"stuck\n")
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(600)
    return value


def no_argument():
    return 1


def two_arguments(a, b):
    return a, b


async def a_coroutine(value):
    return value


def nap(seconds):
    time.sleep(seconds)
    return seconds
