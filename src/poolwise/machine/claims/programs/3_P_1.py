# claim 3.P.1: what a process has to say needs a channel between processes
import multiprocessing

box = []


def work(channel):
    box.append("put into a variable")
    channel.send("sent through a pipe")


if __name__ == "__main__":
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=work, args=(there,))
    child.start()
    print("arrived through the pipe:   ", here.recv())
    child.join()
    print("arrived through the variable:", *box or ["nothing"])
