# claim 6.T.1: the threading module creates and manages threads
import threading


def worker():
    print("Worker thread")


t = threading.Thread(target=worker)
t.start()
t.join()
