# claim 3.P.9: the same exchange takes more between processes than between threads
import multiprocessing
import threading


def in_a_thread(box):
    worker = threading.Thread(target=box.append, args=("hello",))
    worker.start()
    worker.join()
    return box.pop()


def in_a_process(ends):
    worker = multiprocessing.Process(target=ends[1].send, args=("hello",))
    worker.start()
    said = ends[0].recv()
    worker.join()
    return said


if __name__ == "__main__":  # a thread would not need this line either
    for way, made in ((in_a_thread, []), (in_a_process, multiprocessing.Pipe())):
        lines = len({at[2] for at in way.__code__.co_lines()}) - 1
        print(f"{way.__name__} said {way(made)!r} in {lines} lines")
