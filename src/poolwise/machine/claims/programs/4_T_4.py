# claim 4.T.4: the GIL limits threads; it does not limit processes
import concurrent.futures
import time


def compute(upto):
    return sum(number * number for number in range(upto))


if __name__ == "__main__":
    kinds = concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor
    for kind in kinds:
        with kind(2) as pool:
            list(pool.map(compute, range(100)))  # both workers have started
            start = time.perf_counter()
            pool.submit(compute, 500_000).result()
            one = time.perf_counter() - start
            start = time.perf_counter()
            list(pool.map(compute, [500_000] * 2))
            two = time.perf_counter() - start
        print(f"{kind.__name__}: one call {1e3 * one:.0f} ms, two at once {1e3 * two:.0f} ms")
