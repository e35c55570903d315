# claim 6.S.2: which mechanism to choose depends on the kind of task
import concurrent.futures as pools
import time


def compute(_):
    return sum(number * number for number in range(200_000))


def wait(_):
    time.sleep(0.01)


if __name__ == "__main__":
    with pools.ThreadPoolExecutor(20) as threads, pools.ProcessPoolExecutor(2) as processes:
        list(processes.map(int, range(100)))  # the workers have started
        ways = {"a loop": map, "threads": threads.map, "processes": processes.map}
        for work, count in ((compute, 4), (wait, 10), (abs, 500)):
            took = {}
            for name, run in ways.items():
                start = time.perf_counter()
                list(run(work, range(count)))
                took[name] = time.perf_counter() - start
            print(f"{work.__name__}: take {min(took, key=took.get)}")
