# claim 5.P.2: processes suit scientific computing: pi by numerical integration
import concurrent.futures
import os
import time

STEPS, PARTS = 600_000, 4


def integrate(part):
    width = 1.0 / STEPS
    return width * sum(4.0 / (1.0 + (width * (k + 0.5)) ** 2) for k in range(part, STEPS, PARTS))


if __name__ == "__main__":
    start = time.perf_counter()
    pi = sum(map(integrate, range(PARTS)))
    print(f"loop:      pi = {pi:.6f} in {time.perf_counter() - start:.2f} s")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        start = time.perf_counter()
        pi = sum(pool.map(integrate, range(PARTS)))
    print(f"processes: pi = {pi:.6f} in {time.perf_counter() - start:.2f} s, their start included")
