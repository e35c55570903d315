# claim 2.P.3: a switch between processes takes more than one between threads: a token goes round
import multiprocessing
import os
import threading
import time


def pass_on(read, write, rounds):
    for _ in range(rounds):
        os.write(write, os.read(read, 1))


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # on one CPU
    for kind in (threading.Thread, multiprocessing.get_context("fork").Process) * 3:
        (read, there), (back, write) = os.pipe(), os.pipe()
        other = kind(target=pass_on, args=(read, write, 2002))
        other.start()
        os.write(there, b"x")
        pass_on(back, there, 1)  # it has started
        start = time.perf_counter()
        pass_on(back, there, 2000)
        print(f"{kind.__name__}: {(time.perf_counter() - start) / 4000 * 1e6:.2f} µs a switch")
        other.join()
