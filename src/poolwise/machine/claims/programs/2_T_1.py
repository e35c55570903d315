# claim 2.T.1: creating and destroying threads costs little
import multiprocessing
import threading
import time


def create_and_join(kind, count):
    start = time.perf_counter()
    for _ in range(count):
        worker = kind(target=int)
        worker.start()
        worker.join()
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    thread = create_and_join(threading.Thread, 100)
    process = create_and_join(multiprocessing.Process, 5)
    print(f"create and join a thread:  {1e6 * thread:8.0f} µs")
    print(f"create and join a process: {1e6 * process:8.0f} µs, {process / thread:.0f} times that")
