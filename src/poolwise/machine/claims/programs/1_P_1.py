# claim 1.P.1: memory, descriptors and limits belong to the process, not to the thread
import multiprocessing
import os
import resource
import threading

data = []


def change_everything():
    data.append(1)
    os.dup2(1, 99)  # opens descriptor 99
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    for kind in (multiprocessing.Process, threading.Thread):
        worker = kind(target=change_everything)
        worker.start()
        worker.join()
        opened = os.path.exists("/dev/fd/99")
        limited = resource.getrlimit(resource.RLIMIT_NOFILE) != limit
        print(f"{kind.__name__} changed ours: {bool(data)=}, {opened=}, {limited=}")
