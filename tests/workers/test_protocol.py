from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.workers.protocol import Lines, decode, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), json_values))
def test_what_is_sent_is_what_arrives(content: dict[str, Any]) -> None:
    message = {**content, "event": "answer"}
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


@settings(deadline=None)
@given(st.lists(st.binary()), st.data())
def test_lines_are_put_together_from_any_pieces(lines: list[bytes], data: st.DataObject) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    stream = b"".join(line + b"\n" for line in lines) + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assembler = Lines()
    assert [line for piece in pieces for line in assembler.feed(piece)] == lines


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_break_the_parent(line: bytes) -> None:
    assert decode(line)["event"] == "garbled"


@pytest.mark.parametrize("line", [b"", b"null", b"[1]", b'{"evnt": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_message_is_garbled(line: bytes) -> None:
    assert decode(line) == {"event": "garbled", "line": line[:200].decode("utf-8", "replace")}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}])
def test_what_json_lacks_is_not_sent(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode({"event": "answer", "value": value})
