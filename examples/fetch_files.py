"""Work that waits: fetch a file from a slow server, which this module starts when imported."""

from file_client import download, server_url

URL = server_url("FILE_SERVER_URL", latency=0.05, slots=16)


def fetch(path: str) -> int:
    """Fetch the file at ``path`` from the server and return its length in bytes."""
    return len(download(URL, path))
