# claim 2.P.1: creating and destroying processes is costly
import multiprocessing
import statistics
import threading
import time


def measure(kind):
    creating, ending = [], []
    for _ in range(5):
        start = time.perf_counter()
        worker = kind(target=int)
        worker.start()
        started = time.perf_counter()
        worker.join()
        creating.append(1e3 * (started - start))
        ending.append(1e3 * (time.perf_counter() - started))
    print(f"{kind.__name__}: start {statistics.median(creating):.2f} ms,", end=" ")
    print(f"run and end {statistics.median(ending):.2f} ms (median of 5)")


if __name__ == "__main__":
    for kind in (threading.Thread, multiprocessing.Process):
        measure(kind)
