# claim 1.T.4: threads share the memory of their process: its code and its data
import threading

data = []


def work():
    data.append(f"{threading.current_thread().name}: my code lies at {id(work.__code__):#x}")


threads = [threading.Thread(target=work, name=f"thread {number}") for number in (1, 2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
work()
print("one list was written to by all:", *data, sep="\n  ")
