# claim 3.T.2: threads read and write the same variables
import threading

mailbox = {}
written = threading.Event()
answered = threading.Event()


def answer():
    written.wait()
    mailbox["answer"] = mailbox["question"].upper()
    answered.set()


thread = threading.Thread(target=answer)
thread.start()
mailbox["question"] = "can you read this?"
written.set()
answered.wait()
print("the thread read and wrote the same dictionary:", mailbox)
thread.join()
