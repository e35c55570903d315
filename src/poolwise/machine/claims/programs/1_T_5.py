# claim 1.T.5: threads share one interpreter: its modules, its settings, its memory
import sys
import threading

value = "as it was"


def change():
    global value
    import colorsys

    value = f"changed by a thread whose table of modules lies at {id(sys.modules):#x}"
    print("the thread loaded", colorsys.__name__)


thread = threading.Thread(target=change)
thread.start()
thread.join()
print("the value was", value)
print(
    f"the main thread's table lies at {id(sys.modules):#x}; colorsys in it:",
    "colorsys" in sys.modules,
)
