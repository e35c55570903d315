# claim 5.T.3: do threads suit files? What is in the page cache is not waited for
import concurrent.futures
import pathlib
import tempfile
import time

with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(8) as pool:
    files = [pathlib.Path(folder, str(number)) for number in range(100)]
    for file in files:
        file.write_bytes(bytes(20_000))  # it is in the page cache now

    for name, run in (("loop", map), ("eight threads", pool.map)):
        start = time.perf_counter()
        size = sum(map(len, run(pathlib.Path.read_bytes, files)))
        took = time.perf_counter() - start
        print(f"{name}: {size / 1e6:.0f} MB from 100 cached files in {1e3 * took:.1f} ms")
