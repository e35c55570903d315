# claim 5.T.6: many short tasks: threads beat processes, and a plain loop beats both
import multiprocessing
import threading
import time


def each_in_its_own(kind, count):
    start = time.perf_counter()
    for number in range(count):
        worker = kind(target=abs, args=(number,))
        worker.start()
        worker.join()
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    print(
        f"a process for each: {each_in_its_own(multiprocessing.Process, 5):12,.0f} tasks a second"
    )
    print(f"a thread for each:  {each_in_its_own(threading.Thread, 200):12,.0f}")
    start = time.perf_counter()
    for number in range(100_000):
        abs(number)
    print(f"a plain loop:       {100_000 / (time.perf_counter() - start):12,.0f}")
