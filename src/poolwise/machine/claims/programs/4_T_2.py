# claim 4.T.2: one thread at a time executes Python bytecode
import threading
import time


def compute():
    sum(number * number for number in range(500_000))


def at_once(count):
    threads = [threading.Thread(target=compute) for _ in range(count)]
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


for count in (1, 2):
    print(f"{count} computing: {at_once(count):.2f} CPUs were busy on average")
