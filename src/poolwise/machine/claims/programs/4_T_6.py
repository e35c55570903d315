# claim 4.T.6: beside a waiting thread the program answers at once, beside a computing one late
import threading
import time


def compute():
    sum(number * number for number in range(1_500_000))


def worst_delay(beside):
    thread = threading.Thread(target=beside)
    thread.start()
    late = []
    while thread.is_alive():  # a heartbeat, due every millisecond
        due = time.perf_counter() + 1e-3
        time.sleep(1e-3)
        late.append(time.perf_counter() - due)
    return 1e3 * sorted(late)[len(late) // 2], len(late)


for name, work in (("waiting", lambda: time.sleep(0.1)), ("computing", compute)):
    delay, beats = worst_delay(work)
    print(f"beside a {name} thread the heartbeat was {delay:.2f} ms late (median of {beats})")
