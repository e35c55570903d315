# claim 5.T.4: while one thread waits for I/O another runs
import os
import threading

read, write = os.pipe()
order = []


def wait_for_input():
    order.append("A waits for input")
    order.append(f"A got {os.read(read, 100).decode()!r}")


def work():
    sum(number * number for number in range(100_000))
    order.append("B worked")
    os.write(write, b"something")


threads = [threading.Thread(target=wait_for_input), threading.Thread(target=work)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*order, sep="\n")
