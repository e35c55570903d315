# claim 3.T.4: under a Lock no update is lost
import sys
import threading

N, count, lock = 10_000, 0, threading.Lock()


def add_one(value):
    return value + 1


def work():
    global count
    for _ in range(N):
        with lock:
            count = add_one(count)


sys.setswitchinterval(1e-5)  # threads take turns more often
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"4 threads counted to {count:,} of {4 * N:,}: {4 * N - count} lost")
