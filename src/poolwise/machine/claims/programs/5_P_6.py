# claim 5.P.6: independent instances do not disturb each other: one crashes, the other goes on
import ctypes
import multiprocessing
import resource


def instance(name, crash, crashed):
    if crash:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)  # reads address 0
    crashed.wait()
    print("instance", name, "goes on", flush=True)


if __name__ == "__main__":
    crashed = multiprocessing.Event()
    bad = multiprocessing.Process(target=instance, args=("A", True, crashed))
    good = multiprocessing.Process(target=instance, args=("B", False, crashed))
    good.start()
    bad.start()
    bad.join()
    print("instance A crashed, exit code", bad.exitcode)
    crashed.set()
    good.join()
    print("instance B ended, exit code", good.exitcode)
