# claim 1.P.3: every process has memory of its own
import multiprocessing

value = "as the parent made it"


def change():
    global value
    value = "changed by the child"
    print("child: ", value, flush=True)


if __name__ == "__main__":
    child = multiprocessing.Process(target=change)
    child.start()
    child.join()
    print("parent:", value)
