# claim 5.P.5: processes isolate resources: working directory, environment
import multiprocessing
import os
import threading


def move():
    os.chdir("/")
    os.environ["COLOUR"] = "red"


if __name__ == "__main__":
    os.environ["COLOUR"] = "blue"
    for kind in (multiprocessing.Process, threading.Thread):
        before = os.getcwd()
        worker = kind(target=move)
        worker.start()
        worker.join()
        print(f"after a {kind.__name__} moved: folder {before} -> {os.getcwd()},", end=" ")
        print("COLOUR is", os.environ["COLOUR"])
