# claim 3.P.5: a signal tells a process that something happened, and which
import multiprocessing
import os
import signal


def wait_for_signal(ready):
    signals = {signal.SIGUSR1, signal.SIGUSR2}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # they wait until we do
    ready.set()
    print("the child was told:", signal.Signals(signal.sigwait(signals)).name, flush=True)


if __name__ == "__main__":
    ready = multiprocessing.Event()
    child = multiprocessing.Process(target=wait_for_signal, args=(ready,))
    child.start()
    ready.wait()
    os.kill(child.pid, signal.SIGUSR2)
    child.join()
    print("its exit code:", child.exitcode)
