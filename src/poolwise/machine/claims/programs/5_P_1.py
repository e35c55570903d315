# claim 5.P.1: processes suit work that is bound by the CPU
import concurrent.futures as pools
import os
import time


def compute(upto):
    return sum(number * number for number in range(upto))


def timed(name, run):
    start = time.perf_counter()
    list(run(compute, [300_000] * 4))
    print(f"{name:9} {1e3 * (time.perf_counter() - start):4.0f} ms")


if __name__ == "__main__":
    cpus = os.cpu_count()
    with pools.ThreadPoolExecutor(cpus) as threads, pools.ProcessPoolExecutor(cpus) as processes:
        list(processes.map(int, range(100)))  # the workers have started
        timed("loop", map)
        timed("threads", threads.map)
        timed("processes", processes.map)
