# claim 3.P.6: channels between processes are more complex, by the lines and objects they need
import os

MEANS = {  # the shortest way to say something
    "variable": "box = []; box.append('hello'); said = box.pop()",
    "pipe": "import multiprocessing as mp; here, there = mp.Pipe(); "
    "here.send('hello'); said = there.recv()",
    "queue": "import multiprocessing as mp; queue = mp.Queue(); "
    "queue.put('hello'); said = queue.get()",
    "shared memory": "from multiprocessing.shared_memory import SharedMemory; "
    "memory = SharedMemory(create=True, size=5); memory.buf[:5] = b'hello'; "
    "said = bytes(memory.buf[:5]); memory.unlink()",
    "signal": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); "
    "signal.raise_signal(signal.SIGUSR1); said = signal.sigwait({signal.SIGUSR1}).name",
}
for name, code in MEANS.items():
    names = {}
    before = len(os.listdir("/dev/fd"))
    exec(code, names)
    opened = len(os.listdir("/dev/fd")) - before
    print(f"{name}: {len(code.split('; '))} statements, {opened} new descriptors;", end=" ")
    print("it carried", names["said"])
