import poolwise


def worker():
    print("Worker process")


p = poolwise.Worker(worker, mechanism="process")
p.start()
p.join()
