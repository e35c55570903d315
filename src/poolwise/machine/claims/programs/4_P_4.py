# claim 4.P.4: several processes, each on a core of its own, make a program faster
import multiprocessing
import os
import time


def count_primes(limit):
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))


if __name__ == "__main__":
    limits = [25_000] * 4
    start = time.perf_counter()
    loop = [count_primes(limit) for limit in limits]
    middle = time.perf_counter()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        assert pool.map(count_primes, limits, chunksize=1) == loop
    end = time.perf_counter()
    print(f"loop: {1e3 * (middle - start):.0f} ms")
    print(f"{os.cpu_count()} processes: {1e3 * (end - middle):.0f} ms, their start included")
