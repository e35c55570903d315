# claim 1.P.5: a multiprocessing process has an interpreter of its own
import multiprocessing
import os
import sys


def import_something():
    import colorsys

    loaded = colorsys.__name__ in sys.modules
    print(f"child  {os.getpid()}: its interpreter has loaded colorsys: {loaded}", flush=True)


if __name__ == "__main__":
    child = multiprocessing.Process(target=import_something)
    child.start()
    child.join()
    print(f"parent {os.getpid()}: its interpreter has loaded colorsys: {'colorsys' in sys.modules}")
