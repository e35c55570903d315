# claim 5.T.1: threads suit work that waits
import concurrent.futures
import time


def wait_for_something(_):
    time.sleep(0.01)  # a disk, a server, a user


start = time.perf_counter()
list(map(wait_for_something, range(10)))
loop = time.perf_counter() - start
with concurrent.futures.ThreadPoolExecutor(10) as pool:
    start = time.perf_counter()
    list(pool.map(wait_for_something, range(10)))
    threads = time.perf_counter() - start
print(f"10 waits of 10 ms: loop {1e3 * loop:.0f} ms, ten threads {1e3 * threads:.0f} ms")
