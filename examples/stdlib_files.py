"""The standard library's own source files: many inputs that every machine has."""

import os
import signal
import sysconfig

SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


def stdlib_files() -> list[str]:
    """Return the path of every ``.py`` file of the standard library but its tests, sorted."""
    paths: list[str] = []
    for folder, subfolders, names in os.walk(sysconfig.get_path("stdlib")):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED_FOLDERS]
        files = (os.path.join(folder, name) for name in names if name.endswith(".py"))
        paths += filter(os.path.exists, files)  # some systems have links that lead nowhere
    return sorted(paths)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly in front of, say, `head`
    print(*stdlib_files(), sep="\n")
