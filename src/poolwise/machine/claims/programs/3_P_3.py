# claim 3.P.3: a queue carries messages between processes
import multiprocessing
import time


def echo(inbox, outbox):
    for _ in range(200):
        outbox.put(inbox.get())


if __name__ == "__main__":
    there, back = multiprocessing.Queue(), multiprocessing.Queue()
    child = multiprocessing.Process(target=echo, args=(there, back))
    child.start()
    there.put("hello")
    print("the child put back:", back.get())
    start = time.perf_counter()
    for _ in range(199):
        there.put("hello")
        back.get()
    print(f"one way takes {(time.perf_counter() - start) / 398 * 1e6:.0f} µs")
    child.join()
