"""What a place promises, of an S3 server: moto's, in this process, and s3fs that asks it."""

from __future__ import annotations

import pytest

from headstart.errors import HeadstartError
from headstart.places import Place, RefusedError
from headstart.study.holding import Hold
from s3_server import S3

QUICK = {"beat": 0.1, "still": 1.0}


def test_what_others_write_and_take_away_meanwhile_is_seen(s3: S3) -> None:
    place = Place.of("s3://bucket/a")
    place.write("c/e", b"1")
    assert place.names() == ["c"]
    assert not place.has("b")
    assert not place.has("c/d")
    s3.put("a/b", b"2")
    s3.put("a/c/d", b"2")
    assert place.has("b")
    assert place.has("c/d")
    assert place.names() == ["b", "c"]
    assert place.below("c") == ["d", "e"]
    s3.take("a/b")
    s3.take("a/c/e")
    assert not place.has("b")
    assert place.names() == ["c"]
    assert place.below("c") == ["d"]
    s3.take("a/c/d")
    assert place.below("c") == place.names() == []
    assert not place.is_folder()


def test_what_is_written_over_is_read_anew(s3: S3) -> None:
    place = Place.of("s3://bucket/a")
    place.write("b", b"one")
    assert place.read("b") == b"one"
    s3.put("a/b", b"another")
    assert place.read("b") == b"another"
    with place.open("b") as file:
        assert file.read() == b"another"


def test_names_are_no_patterns(s3: S3) -> None:
    names = ["a1.jpg", "a[1].jpg", "b*.jpg", "c?.jpg", "d ~&+=%20#.jpg"]
    place = Place.of("s3://bucket/a")
    for name in names:
        place.write(f"in/{name}", name.encode())
    found = place.read_many([*(f"in/{name}" for name in names), "in/none"])
    assert found[:-1] == [name.encode() for name in names]
    assert isinstance(found[-1], FileNotFoundError)
    assert sorted(s3.names()) == [f"a/in/{name}" for name in names]


def test_a_bucket_of_a_mistyped_name_is_not_made(s3: S3) -> None:
    place = Place.of("s3://buckte/a")
    assert not place.answering().has()
    assert place.names() == []
    with pytest.raises(RefusedError, match=r"s3://buckte/a cannot be written to: .*does not exist"):
        place.write("b", b"1")
    with pytest.raises(HeadstartError, match="Make the bucket"), Hold(**QUICK) as hold:
        hold.take_place("s3://buckte/a")
    assert s3.buckets() == ["bucket"]


def test_one_command_at_a_time_holds_a_study(s3: S3) -> None:
    url = "s3://bucket/study"
    with Hold(**QUICK) as first:
        first.take_place(url)
        with pytest.raises(HeadstartError, match=f"{url} is being worked on"), Hold(**QUICK) as two:
            two.take_place(url)
        assert not first.lost
    assert s3.names() == []
    with Hold(**QUICK) as third:
        third.take_place(url)
