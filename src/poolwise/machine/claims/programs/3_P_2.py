# claim 3.P.2: a pipe carries messages between processes
import multiprocessing
import time


def echo(end):
    for _ in range(200):
        end.send(end.recv())


if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=echo, args=(there,))
    child.start()
    here.send("hello")
    print("the child sent back:", here.recv())
    start = time.perf_counter()
    for _ in range(199):
        here.send("hello")
        here.recv()
    print(f"one way takes {(time.perf_counter() - start) / 398 * 1e6:.0f} µs")
    child.join()
