# claim 2.P.2: a process is given memory of its own: the kernel fills it in, page by page
import multiprocessing
import resource
import threading


def page_faults():
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_minflt for who in whose)


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")  # its children are ours, so they are counted
    for kind in (threading.Thread, fork.Process):
        counts = []
        for _ in range(5):
            before = page_faults()
            worker = kind(target=int)
            worker.start()
            worker.join()
            counts.append(page_faults() - before)
        print(f"{kind.__name__}: page faults to create and join one, five times:", *counts)
