# claim 5.P.4: with a process for each core, a program uses all of them
import concurrent.futures
import os
import time


def compute(upto):
    return sum(number * number for number in range(upto))


if __name__ == "__main__":
    for workers in sorted({1, 2, os.cpu_count()}):
        with concurrent.futures.ProcessPoolExecutor(workers) as pool:
            list(pool.map(int, range(100)))  # the workers have started
            start = time.perf_counter()
            list(pool.map(compute, [500_000] * 4))
            took = time.perf_counter() - start
        print(f"{workers} of {os.cpu_count()} CPUs: {4 / took:.1f} calculations a second")
