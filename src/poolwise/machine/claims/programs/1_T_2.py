# claim 1.T.2: a thread is contained in a process: it has its id, and takes it along when it crashes
import os
import subprocess
import sys
import threading

CRASH = """
import ctypes, resource, threading
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
threading.Thread(target=ctypes.string_at, args=(0,)).start()  # reads address 0
threading.Event().wait()  # for ever
"""

thread = threading.Thread(target=lambda: print("process id in a thread:", os.getpid()))
thread.start()
thread.join()
print("process id outside it: ", os.getpid())
done = subprocess.run([sys.executable, "-c", CRASH], stderr=subprocess.DEVNULL)
print("a process with one crashing thread ended as a whole, by signal", -done.returncode)
