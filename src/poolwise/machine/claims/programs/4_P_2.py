# claim 4.P.2: processes compute truly in parallel
import multiprocessing
import time


def compute(upto):
    start = time.perf_counter()
    sum(number * number for number in range(upto))
    return time.perf_counter() - start


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        pool.map(int, range(100))  # both have started
        start = time.perf_counter()
        alone = [pool.apply(compute, (500_000,)) for _ in range(2)]
        one_by_one = time.perf_counter() - start
        start = time.perf_counter()
        pool.map(compute, [500_000] * 2, chunksize=1)
        at_once = time.perf_counter() - start
    print(
        f"two calculations one by one: {1e3 * one_by_one:.0f} ms, in two processes at once:",
        end=" ",
    )
    print(f"{1e3 * at_once:.0f} ms, speedup {one_by_one / at_once:.2f}")
