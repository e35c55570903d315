# claim 4.P.3: is a process affected by others? They share memory bandwidth, caches and quota
import multiprocessing
import time


def rounds(block):
    until, done = time.perf_counter() + 0.1, 0
    while time.perf_counter() < until:
        sum(range(10_000))
        block[:] = bytes(block)
        done += 1
    return done


if __name__ == "__main__":
    works = {"compute": bytearray(1), "copy memory": bytearray(16_000_000)}
    with multiprocessing.Pool(2) as pool:
        pool.map(int, range(100))  # both have started
        for name, block in works.items():
            alone = pool.apply(rounds, (block,))
            beside = min(pool.map(rounds, [block] * 2, chunksize=1))
            print(f"{name}: {alone} rounds alone, {beside} beside another that does the same")
