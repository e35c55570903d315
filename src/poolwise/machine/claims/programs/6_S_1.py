# claim 6.S.1: threads and processes each have work that they suit
import concurrent.futures as pools
import time


def compute(_):
    return sum(number * number for number in range(300_000))


def wait(_):
    time.sleep(0.01)


if __name__ == "__main__":
    with pools.ThreadPoolExecutor(20) as threads, pools.ProcessPoolExecutor(2) as processes:
        list(processes.map(int, range(100)))  # the workers have started
        for work, count in ((compute, 4), (wait, 20)):
            took = []
            for pool in (threads, processes):
                start = time.perf_counter()
                list(pool.map(work, range(count)))
                took.append(1e3 * (time.perf_counter() - start))
            print(f"{work.__name__}: 20 threads {took[0]:.0f} ms, 2 processes {took[1]:.0f} ms")
