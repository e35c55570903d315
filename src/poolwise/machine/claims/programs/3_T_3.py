# claim 3.T.3: without synchronisation updates can be lost; whether, depends on what is done
import sys
import threading


def plain():
    global count
    for _ in range(50_000):
        count += 1


def with_call():
    global count
    for _ in range(50_000):
        count = (lambda value: value + 1)(count)  # others may run before the write


sys.setswitchinterval(1e-5)  # threads take turns more often: what is rare is seen sooner
for work in (plain, with_call) * 3:  # a race need not show the first time
    count, threads = 0, [threading.Thread(target=work) for _ in range(4)]
    for step in (threading.Thread.start, threading.Thread.join):
        list(map(step, threads))
    print(f"{work.__name__}: {200_000 - count:,} of 200,000 updates lost")
