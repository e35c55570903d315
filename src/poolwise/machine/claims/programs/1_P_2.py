# claim 1.P.2: a process contains the code, the data and the stack of its program
from pathlib import Path

maps = Path("/proc/self/maps")
if not maps.exists():
    raise SystemExit("only Linux shows a process its own memory map")
sizes = {"code": 0, "data": 0, "stack": 0}
for line in maps.read_text().splitlines():
    addresses, access, *rest = line.split()
    low, high = (int(part, 16) for part in addresses.split("-"))
    kind = "stack" if rest[-1] == "[stack]" else "code" if "x" in access else "data"
    sizes[kind] += high - low
for kind, size in sizes.items():
    print(f"{kind:5} {size / 1e6:6.1f} MB of addresses in this process")
