# claim 4.T.1: Python has a global interpreter lock, unless it was built without
import sys
import sysconfig

built_without = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
on = getattr(sys, "_is_gil_enabled", lambda: True)()
interval = 1e3 * sys.getswitchinterval()
print(sys.version)
print("built so that it can run without a GIL:", built_without)
print("the GIL is on:", on)
print(f"who holds it is asked to let go after {interval:.0f} ms, if another thread waits for it")
