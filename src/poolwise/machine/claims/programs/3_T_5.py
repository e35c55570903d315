# claim 3.T.5: the owner of an RLock may take it again, and nobody else
import threading


def try_to_take(lock, answers):
    answers.append(lock.acquire(blocking=False))
    if answers[-1]:
        lock.release()


for name, lock in (("RLock", threading.RLock()), ("Lock", threading.Lock())):
    answers = []
    with lock:
        try_to_take(lock, answers)
        other = threading.Thread(target=try_to_take, args=(lock, answers))
        other.start()
        other.join()
    print(f"{name}: its owner took it again: {answers[0]}; another thread took it: {answers[1]}")
