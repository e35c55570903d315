# claim 4.T.3: threads do not speed up computing, unless C code does it and releases the GIL
import concurrent.futures
import hashlib
import time

DATA = bytes(8_000_000)


def pure_python(_):
    sum(number * number for number in range(300_000))


def c_code(_):
    hashlib.sha256(DATA).digest()


with concurrent.futures.ThreadPoolExecutor(2) as threads:
    for work in (pure_python, c_code):
        start = time.perf_counter()
        list(map(work, range(4)))
        middle = time.perf_counter()
        list(threads.map(work, range(4)))
        faster = (middle - start) / (time.perf_counter() - middle)
        print(f"{work.__name__}: two threads are {faster:.2f} times as fast as a loop")
