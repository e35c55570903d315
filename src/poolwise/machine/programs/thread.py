import threading

def worker():
    print("Worker thread")

t = threading.Thread(target=worker)
t.start()
t.join()
