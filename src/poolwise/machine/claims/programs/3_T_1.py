# claim 3.T.1: communication between threads is simple: a variable will do
import multiprocessing
import threading
import time

box = []
thread = threading.Thread(target=box.append, args=("hello",))
thread.start()
thread.join()
print("what a thread put into a list is here, without a channel:", box.pop())
start = time.perf_counter()
for _ in range(10_000):
    box.append(1)
    box.pop()
variable = (time.perf_counter() - start) / 10_000
here, there = multiprocessing.Pipe()
start = time.perf_counter()
for _ in range(10_000):
    here.send(1)
    there.recv()
pipe = (time.perf_counter() - start) / 10_000
print(f"a message through a variable: {1e6 * variable:.2f} µs, through a pipe: {1e6 * pipe:.2f} µs")
