# claim 2.T.2: a thread shares the memory of its process and adds little of its own
import subprocess
import sys
import threading
from pathlib import Path

if not Path("/proc/self/status").exists():
    raise SystemExit("only Linux shows the memory of a process there")
READ = "Path('/proc/self/status').read_text().split('VmRSS:')[1].split()[0]"
PROGRAM = f"from pathlib import Path; print({READ})"

end = threading.Event()
before = int(eval(READ))
for _ in range(50):
    threading.Thread(target=end.wait).start()
grown = int(eval(READ)) - before
end.set()
process = subprocess.check_output([sys.executable, "-c", PROGRAM], text=True)
print(f"50 waiting threads added {grown} KB of memory, {grown / 50:.0f} KB each")
print(f"a Python process that does nothing has {process.strip()} KB")
