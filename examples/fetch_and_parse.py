"""Work that waits and computes: fetch a Python file from a server, then parse it."""

from file_client import download, server_url
from parse_files import count_in_source

URL = server_url("WIDE_FILE_SERVER_URL", latency=0.01, slots=64)


def fetch_and_count(path: str) -> dict[str, int]:
    """Fetch the Python file at ``path`` and count its classes, functions and imports."""
    return count_in_source(download(URL, path))
