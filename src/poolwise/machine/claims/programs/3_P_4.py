# claim 3.P.4: shared memory carries messages between processes
import multiprocessing
from multiprocessing.shared_memory import SharedMemory


def write(memory):
    memory.buf[:5] = b"hello"
    memory.close()


if __name__ == "__main__":
    memory = SharedMemory(create=True, size=4096)
    child = multiprocessing.Process(target=write, args=(memory,))
    child.start()
    child.join()
    print("the child wrote into shared memory:", bytes(memory.buf[:5]).decode())
    memory.close()
    memory.unlink()
