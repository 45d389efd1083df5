"""Objects: bytes by digest, whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.foundation.errors import HomeostatError, Kind
from homeostat.foundation.objects import Objects


@pytest.fixture(params=["folder", "address"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """A store in a folder, and one by an address with a scheme."""
    return Objects(tmp_path / "objects") if request.param == "folder" else Objects("memory:///")


def test_what_was_put_comes_back(objects: Objects) -> None:
    for data in (b"", b"a", os.urandom(3 << 20)):
        digest = objects.put(iter([data[: len(data) // 2], b"", data[len(data) // 2 :]]))
        assert digest == blake3(data).hexdigest() == objects.put_bytes(data) == objects.put([data])
        assert objects.get_bytes(digest) == data == b"".join(objects.stream(digest))
        assert objects.size(digest) == len(data) and objects.has(digest)


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=40), start=st.integers(0, 60), end=st.none() | st.integers(0, 60))
def test_a_range_is_a_slice(data: bytes, start: int, end: int | None) -> None:
    objects = Objects("memory:///")
    digest = objects.put_bytes(data)
    assert objects.get_bytes(digest, start=start, end=end) == data[start:end]


def test_what_is_not_there_is_told(objects: Objects) -> None:
    nobody = "0" * 64
    assert not objects.has(nobody)
    for ask in (
        objects.get_bytes,
        objects.size,
        lambda d: next(objects.stream(d)),
        lambda d: objects.get_bytes(d, start=1),
    ):
        with pytest.raises(HomeostatError) as missing:
            ask(nobody)
        assert missing.value.code == "objects.missing" and missing.value.kind is Kind.NOT_FOUND


@pytest.mark.parametrize("wrong", ["", "a", "../../etc/passwd", "A" * 64, "g" * 64, "0" * 63 + "\n", "0" * 65])
def test_what_is_no_digest_is_refused(objects: Objects, wrong: str) -> None:
    with pytest.raises(HomeostatError) as bad:
        objects.get_bytes(wrong)
    assert bad.value.code == "objects.bad_digest"


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")

    def broken() -> Iterator[bytes]:
        yield os.urandom(6 << 20)
        raise ConnectionResetError("gone")

    with pytest.raises(Exception, match="gone"):
        objects.put(broken())
    assert [p for p in (tmp_path / "objects").rglob("*") if p.is_file()] == []


def test_content_that_is_not_what_its_name_promises_is_told(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    digest = objects.put_bytes(b"as it was")
    objects.path_of(digest).write_bytes(b"as it is now")
    with pytest.raises(HomeostatError) as read:
        objects.get_bytes(digest)
    with pytest.raises(HomeostatError) as streamed:
        list(objects.stream(digest))
    assert read.value.code == streamed.value.code == "objects.corrupt"


def test_many_may_put_the_same_thing_at_once(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects")
    data, found = os.urandom(100_000), []
    threads = [threading.Thread(target=lambda: found.append(objects.put([data]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {blake3(data).hexdigest()} and len(found) == 8
    assert len([p for p in (tmp_path / "objects").rglob("*") if p.is_file()]) == 1


def test_only_a_local_store_has_paths() -> None:
    remote = Objects("memory:///")
    with pytest.raises(HomeostatError) as caught:
        remote.path_of(remote.put_bytes(b"x"))
    assert caught.value.code == "objects.not_local"
