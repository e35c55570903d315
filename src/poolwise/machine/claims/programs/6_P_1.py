# claim 6.P.1: the multiprocessing module creates and manages processes
import multiprocessing


def worker():
    print("Worker process")


if __name__ == "__main__":
    p = multiprocessing.Process(target=worker)
    p.start()
    p.join()
