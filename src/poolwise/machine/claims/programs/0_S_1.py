# claim 0.S.1: processes and threads differ in several respects
import multiprocessing
import os
import threading
import time

written_by = []


def write():
    written_by.append(os.getpid())


if __name__ == "__main__":
    for kind in (multiprocessing.Process, threading.Thread):
        start = time.perf_counter()
        worker = kind(target=write)
        worker.start()
        worker.join()
        took = 1e3 * (time.perf_counter() - start)
        seen = "arrived here" if written_by else "did not arrive here"
        print(f"{kind.__name__}: {took:.2f} ms to create and join; what it wrote {seen}")
