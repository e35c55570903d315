# claim 2.P.4: a switch saves and restores a context; the kernel does it unseen, here is its trace
import threading
import time
from pathlib import Path

status = Path("/proc/self/status")
if not status.exists():
    raise SystemExit("only Linux shows a process its page tables and switches")


def read(name):
    return int(status.read_text().split(f"\n{name}:")[1].split()[0])


print(f"page tables, the memory map that a switch of processes loads: {read('VmPTE')} KB")
before = read("voluntary_ctxt_switches")
for _ in range(100):
    time.sleep(1e-4)  # gives the CPU away
after = read("voluntary_ctxt_switches")
print(f"100 times asleep were {after - before} switches,")
print(f"and each put back the counter and registers of thread {threading.get_native_id()}")
