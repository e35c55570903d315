# claim 5.P.3: processes suit image processing: blur an image in stripes
import concurrent.futures
import os
import random
import time

WIDTH = 400


def blur(row):
    inside = range(WIDTH, len(row) - WIDTH)
    return bytes([(row[i - 1] + row[i + 1] + row[i - WIDTH] + row[i + WIDTH]) // 4 for i in inside])


if __name__ == "__main__":
    image = [random.randbytes(WIDTH * 300) for _ in range(4)]
    start = time.perf_counter()
    loop = list(map(blur, image))
    print(f"loop:      {1e3 * (time.perf_counter() - start):.0f} ms for 400 × 1200 pixels")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        start = time.perf_counter()
        assert list(pool.map(blur, image)) == loop
    print(f"processes: {1e3 * (time.perf_counter() - start):.0f} ms, their start included")
