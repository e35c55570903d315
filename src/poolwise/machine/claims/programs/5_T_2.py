# claim 5.T.2: threads suit network programming
import concurrent.futures
import socketserver
import threading
import time
import urllib.request


class Slow(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        time.sleep(0.02)  # what a server does
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhello")


with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    url = "http://127.0.0.1:{1}".format(*server.server_address)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        for name, run in (("loop", map), ("ten threads", pool.map)):
            start = time.perf_counter()
            said = list(run(lambda _: opener.open(url).read(), range(10)))
            print(f"{name}: {len(said)} pages in {1e3 * (time.perf_counter() - start):.0f} ms")
    server.shutdown()
