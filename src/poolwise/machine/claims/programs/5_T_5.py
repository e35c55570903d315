# claim 5.T.5: threads are created and destroyed quickly
import multiprocessing
import threading
import time


def rate(kind, count):
    start = time.perf_counter()
    workers = [kind(target=int) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    print(f"threads:   {rate(threading.Thread, 200):8,.0f} a second created and destroyed")
    print(f"processes: {rate(multiprocessing.Process, 8):8,.0f} a second")
