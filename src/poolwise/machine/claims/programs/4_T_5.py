# claim 4.T.5: a thread that waits releases the GIL, and others run
import threading
import time

start = time.perf_counter()
threads = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(10)]
for thread in threads:
    thread.start()
total = sum(number * number for number in range(200_000))
computed = time.perf_counter() - start
for thread in threads:
    thread.join()
print(f"while ten threads waited, the main thread computed for {1e3 * computed:.0f} ms")
print(f"ten waits of 100 ms were over after {1e3 * (time.perf_counter() - start):.0f} ms")
