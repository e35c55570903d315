# claim 1.T.3: threads are what operates in a process: their CPU time adds up to that of the process
import threading
import time

used = []


def compute(upto):
    sum(number * number for number in range(upto))
    used.append(time.thread_time())


before = time.process_time() - time.thread_time()
threads = [threading.Thread(target=compute, args=(upto,)) for upto in (200_000, 400_000)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
used.append(time.thread_time())
print("CPU time of each thread:", *(f"{1e3 * each:.1f} ms" for each in used))
print(f"together {1e3 * (sum(used) + before):.1f} ms")
print(f"the process used {1e3 * time.process_time():.1f} ms")
