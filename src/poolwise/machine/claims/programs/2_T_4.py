# claim 2.T.4: threads share their context; each has only local variables and registers of its own
import threading
from pathlib import Path

STATUS = Path("/proc/self/status")
shared, meeting = [], threading.Barrier(5)


def page_tables():
    return STATUS.read_text().split("VmPTE:")[1].split("\n")[0].strip() if STATUS.exists() else "?"


def work(number, local):
    shared.append(number)
    meeting.wait()
    print(f"thread {number}: local {local}, shared {sorted(shared)}\n", end="")
    meeting.wait()


print("page tables with 1 thread:", page_tables())
for number in range(4):
    threading.Thread(target=work, args=(number, number * 10)).start()
meeting.wait()
print("page tables with 5:", page_tables())
meeting.wait()
