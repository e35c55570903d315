# claim 3.P.8: multiprocessing offers Pipe, Queue and more
import multiprocessing


def answer(pipe, queue, value):
    pipe.send("through Pipe")
    queue.put("through Queue")
    value.value = 42


if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    queue, value = multiprocessing.Queue(), multiprocessing.Value("i", 0)
    child = multiprocessing.Process(target=answer, args=(there, queue, value))
    child.start()
    print(here.recv())
    print(queue.get())
    child.join()
    print("through Value:", value.value)
