# claim 3.P.7: a channel between processes goes through the operating system
import multiprocessing
import os
import stat
import time

here, there = multiprocessing.Pipe()
kind = "socket" if stat.S_ISSOCK(os.fstat(here.fileno()).st_mode) else "pipe"
print(f"the end of a Pipe is a {kind} of the kernel, descriptor {here.fileno()}")
box = []


def through_a_pipe():
    here.send(1)
    there.recv()


for way in (through_a_pipe, lambda: box.append(1) or box.pop()):
    start, before = time.perf_counter(), os.times().system
    for _ in range(10_000):
        way()
    took, system = time.perf_counter() - start, os.times().system - before
    name = way.__name__.replace("<lambda>", "through a variable").replace("_", " ")
    print(f"10,000 messages {name}: {1e3 * took:.0f} ms, {1e3 * system:.0f} ms in the kernel")
