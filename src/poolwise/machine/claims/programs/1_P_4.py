# claim 1.P.4: the memory of one child is isolated from that of another
import multiprocessing

written = []


def write(name, both_wrote):
    written.append(name)
    both_wrote.wait()
    print(f"process {name} sees what was written by {written}", flush=True)


if __name__ == "__main__":
    both_wrote = multiprocessing.Barrier(2)
    children = [multiprocessing.Process(target=write, args=(name, both_wrote)) for name in "AB"]
    for child in children:
        child.start()
    for child in children:
        child.join()
