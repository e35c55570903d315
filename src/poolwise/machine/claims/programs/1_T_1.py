# claim 1.T.1: the operating system schedules threads: each is a task of the kernel
import os
import threading

started = threading.Barrier(4)
listed = threading.Event()


def be_a_task():
    started.wait()
    listed.wait()


threads = [threading.Thread(target=be_a_task) for _ in range(3)]
for thread in threads:
    thread.start()
started.wait()
print("process:", os.getpid())
print("threads:", threading.get_native_id(), *(thread.native_id for thread in threads))
if os.path.exists("/proc/self/task"):
    print("tasks of this process for the kernel:", *sorted(os.listdir("/proc/self/task")))
listed.set()
