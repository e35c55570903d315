import poolwise


def worker():
    print("Worker thread")


t = poolwise.Worker(worker, mechanism="thread")
t.start()
t.join()
