"""share: one copy, read in place by all, written only where that was asked for."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import threading
from typing import Any

import channel_calls
import numpy as np
import pytest
from channel_peer import peers
from test_locks import running

from poolwise import Shared, TransferError, share

KINDS = pytest.mark.parametrize("kind", ["fork", "exec"])


class Numbers(np.ndarray[Any, Any]):
    """Pickled by value, as each subclass."""


@KINDS
@pytest.mark.parametrize(
    "obj",
    [
        np.arange(1000).reshape(10, 100),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        {"a": np.arange(5), "b": [1, "two", np.zeros(0)]},
        [1, 2, {"three": None}],
        "text",
        None,
    ],
    ids=["array", "fortran", "several", "plain", "text", "none"],
)
def test_all_see_what_was_shared(kind: str, obj: Any) -> None:
    handle = share(obj)
    assert not handle.writable
    with peers(kind) as (peer,):
        assert repr(peer.call(channel_calls.value_of, handle)) == repr(obj)
    assert repr(handle.value) == repr(obj)
    assert handle.value is handle.value


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_seen_as_a_view(kind: Any) -> None:
    with peers("fork") as (peer,):
        handle = share(kind(b"some bytes"))
        assert peer.call(channel_calls.bytes_of, handle) == b"some bytes"
    assert handle.value.tobytes() == b"some bytes"
    assert handle.value.readonly


@pytest.mark.parametrize(
    "view",
    [memoryview(b"abcdef")[::2], memoryview(b""), memoryview(np.zeros((2, 0)))],
    ids=["with steps", "empty", "no columns"],
)
def test_any_memory_is_seen_as_a_view(view: memoryview) -> None:
    assert share(view).value.tobytes() == view.tobytes()


def test_others_may_fork_while_something_is_shared() -> None:
    over = threading.Event()

    def fork() -> None:
        while not over.is_set():
            with peers("fork"):
                pass

    with running(fork), running(fork):
        for _ in range(30):
            assert share(np.ones(200_000)).value[-1] == 1
        over.set()


def test_a_value_may_be_looked_at_by_what_is_finalised_with_it() -> None:
    child = os.fork()  # where this failed, it was with a crash
    if child == 0:
        seen: list[bytes] = []

        class Cycle:
            def __init__(self) -> None:
                self.view, self.me = share(b"seen" * 1000).value, self

            def __del__(self) -> None:
                seen.append(bytes(self.view[:4]))

        Cycle()
        gc.collect()
        os._exit(7 if seen == [b"seen"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_nobody_can_change_what_is_read_only() -> None:
    handle = share(np.zeros(1000))
    with pytest.raises(ValueError, match="read-only"):
        handle.value[0] = 1
    for descriptor in (handle._descriptor,):
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
        with pytest.raises(PermissionError):
            mmap.mmap(descriptor, 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 10)
    with pytest.raises(AttributeError, match="needs no lock"):
        _ = handle.lock


@KINDS
def test_what_is_writable_is_written_in_place(kind: str) -> None:
    handle = share({"counts": np.zeros(3, dtype=np.int64)}, writable=True)
    assert handle.writable
    with peers(kind, "fork") as some:
        for peer in some:
            peer.start(channel_calls.add_in_place, handle, 300)
        channel_calls.add_in_place(handle, 300)
        for peer in some:
            peer.result()
    assert handle.value["counts"].tolist() == [900, 900, 900]


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, "m8[s]"), np.zeros(10)[::2], np.zeros(4).view(Numbers)],
    ids=["times", "strided", "subclass"],
)
def test_what_each_has_a_copy_of_cannot_be_written(array: np.ndarray[Any, Any]) -> None:
    value = share(
        {"a": np.zeros(5), "b": [array], "words": np.array(["x", {}])}, writable=True
    ).value
    value["a"][0] = 1
    value["words"][0] = "y"
    (copy,) = value["b"]
    assert type(copy) is type(array)
    assert (copy == array).all()
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = copy[1]


def test_writable_needs_something_to_write_to() -> None:
    for obj in (b"bytes", [1, 2], "text"):
        with pytest.raises(ValueError, match="writable=True with a"):
            share(obj, writable=True)


def test_the_memory_is_read_in_place() -> None:
    handle = share(np.zeros(1_000_000))
    before = own_bytes()
    assert handle.value.sum() == 0
    assert own_bytes() - before < 1_000_000


def own_bytes() -> int:
    """Bytes of memory that are no file's, a nameless one's neither."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def mappings() -> int:
    with open("/proc/self/maps") as file:
        return file.read().count("memfd:poolwise")


def test_a_value_outlives_its_handle_and_then_all_is_given_back() -> None:
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    mapped = mappings()
    value = share(np.arange(1000)).value
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert value[-1] == 999
    assert mappings() == mapped + 1
    del value
    assert mappings() == mapped


def test_what_does_not_pickle_says_which_part() -> None:
    with pytest.raises(TransferError, match=r"the object\['a'\] .* is a lock that cannot"):
        share({"a": threading.Lock()})
    with pytest.raises(TransferError, match="a Shared cannot become plain bytes"):
        pickle.dumps(share(1))


def test_a_function_of_the_main_module_is_shared_by_value() -> None:
    handle: Shared[Any] = share(lambda number: number + 1)
    assert handle.value(41) == 42
