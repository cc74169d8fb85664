"""YAML text to plain data in which every value and key knows its line and column.

Built on the parser's events, not on its node graph: events come without recursion, so nesting cannot exhaust
a stack, every alias, anchor and tag is seen where it stands, and it takes a fraction of the time.

Scalars follow the core schema of YAML 1.2, which is what editors check a JSON Schema against: `N`, `Y`, `no`
and dates are text; only `true` and `false` are booleans, and `1e-5` is a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from harness.cases.problems import Location, ProblemList, describe
from harness.cases.yaml_document import REFUSED, Document, LocatedDict, LocatedList, Mark, Refused, Value

__all__ = ["CONTROL", "MAX_BYTES", "MAX_DEPTH", "parse_document", "read_document"]

MAX_BYTES = 16 * 1024 * 1024  # a case takes some 300 bytes
MAX_DEPTH = 32  # suites need 4

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_INTEGER_DIGITS = 18
_MAX_CONTROL_PROBLEMS = 10
_MAX_PROBLEMS = 1000  # of one file; what has more is no YAML that somebody wrote

# All that YAML does not allow unescaped, and the characters besides \n and \r that some YAML readers take as
# the end of a line and editors do not, so that line numbers would differ.
_UNREADABLE = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_ASCII_READABLE = bytes({*b"\t\n\r", *range(0x20, 0x7F)})
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NOTHING = re.compile(r"(?!)")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_document(file: Path, problems: ProblemList) -> Document:
    """Read a YAML file; every problem goes to ``problems`` and none is raised."""
    file = file.absolute()
    try:
        if not file.is_file():
            found = "something that is not a file" if file.exists() else "no such file"
            problems.add(file, field="", found=found, allowed="a readable YAML file")
            return Document(file, problems)
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        problems.add(file, field="", found=error.strerror or str(error), allowed="a readable YAML file")
        return Document(file, problems)
    return parse_document(raw, file, problems)


def parse_document(raw: bytes, file: Path, problems: ProblemList) -> Document:
    """Read YAML, naming ``file`` in places; every problem goes to ``problems``, none is raised."""
    document = Document(file, problems)
    if len(raw) > MAX_BYTES:
        allowed = f"at most {MAX_BYTES} bytes a file; split it into several suites"
        problems.add(file, field="", found=f"more than {MAX_BYTES} bytes", allowed=allowed)
        return document
    _Builder(document).build(_readable_text(raw, document))
    return document


def _readable_text(raw: bytes, document: Document) -> str:
    """The text, with U+FFFD for what cannot stand in YAML, after noting it."""
    raw, told = raw.removeprefix(b"\xef\xbb\xbf"), _UNREADABLE
    if raw.isascii():
        text = raw.decode("ascii")
        if not raw.translate(None, _ASCII_READABLE):
            return text
    else:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            text, told = raw.decode("utf-8", "replace"), _NOTHING  # the rest may follow from it, as in UTF-16
            document.problems.add(
                _location_at(raw[: error.start].decode("utf-8"), document),
                field="",
                found=f"the byte 0x{raw[error.start]:02x}, which is not UTF-8 ({error.reason})",
                allowed="text in UTF-8; save the file with that encoding",
            )
    for count, match in enumerate(told.finditer(text)):
        if count == _MAX_CONTROL_PROBLEMS:
            break
        code = ord(match[0])
        document.problems.add(
            _location_at(text[: match.start()], document),
            field="",
            found=f"the unreadable character U+{code:04X}",
            allowed="printable characters, tabs and line ends",
        )
    return _UNREADABLE.sub("\ufffd", text)


def _location_at(before: str, document: Document) -> Location:
    ends = [match.end() for match in _LINE_BREAK.finditer(before)]
    column = len(before) - (ends[-1] if ends else 0)
    return Location(document.file, len(ends) + 1, column + 1)


class _Frame:
    """A collection still open, found at ``step`` of the one around it.

    ``key`` is the one whose value comes next, None where a key comes next.
    """

    __slots__ = ("container", "key", "key_mark", "step")

    def __init__(self, container: LocatedDict | LocatedList, step: str) -> None:
        self.container = container
        self.step = step
        self.key: str | Refused | None = None
        self.key_mark: Mark | None = None


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: list[_Frame] = []
        self._documents = 0
        self._noted = 0

    def build(self, text: str) -> None:
        for event in self._events(text):
            if self._noted > _MAX_PROBLEMS:
                found = f"more than {_MAX_PROBLEMS} problems"
                self._document.problems.add(self._document.file, field="", found=found, allowed="YAML")
                return
            if isinstance(event, yaml.ScalarEvent):
                self._attach(self._scalar(event), event.start_mark)
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(self._open) == MAX_DEPTH:
                    self._add(
                        event.start_mark, f"nesting deeper than {MAX_DEPTH}", f"at most {MAX_DEPTH} levels"
                    )
                    return
                self._check_properties(event)
                container = LocatedDict() if isinstance(event, yaml.MappingStartEvent) else LocatedList()
                container.marks = [event.start_mark]
                frame = _Frame(container, self._step())
                self._attach(container, event.start_mark)
                self._open.append(frame)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
            elif isinstance(event, yaml.AliasEvent):
                allowed = "the value written out; what cases share goes under `defaults:`"
                self._add(event.start_mark, f"the alias {describe(f'*{event.anchor}')}", allowed)
                self._attach(REFUSED, event.start_mark)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    self._add(event.start_mark, "a second document", "one document a file; use another file")
                    self._document.complete = True
                    return
            elif isinstance(event, yaml.StreamEndEvent):
                self._document.complete = True

    def _events(self, text: str) -> Iterator[yaml.Event]:
        """The parser's events, ending early (after noting why) where the text is not YAML."""
        loader = None
        try:
            loader = _LOADER(text)
            while (event := loader.get_event()) is not None:
                yield event
        except yaml.MarkedYAMLError as error:
            what = ", ".join(part for part in (error.context, error.problem) if part)
            mark = error.problem_mark or error.context_mark
            self._add(mark, f"text that is not YAML ({what})", "YAML; check indentation, quotes and brackets")
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # The parser lets some errors through, from numbers in directives and escapes in tags.
            self._add(None, f"text that is not YAML ({' '.join(str(error).split())})", "YAML")
        finally:
            if loader is not None:
                loader.dispose()

    def _scalar(self, event: yaml.ScalarEvent) -> Value:
        value = event.value
        if event.tag is not None or event.anchor is not None:
            return self._check_properties(event)
        if event.implicit[0]:
            if value in _CONSTANTS:
                return _CONSTANTS[value]
            if value[0] in _NUMBER_START:
                return self._number(value, event.start_mark)
        elif event.style == '"' and (control := CONTROL.search(value)):
            found = f"an escape for the control character U+{ord(control[0]):04X}"
            self._add(event.start_mark, found, "printable characters, tabs and line ends")
            return REFUSED
        return value

    def _number(self, text: str, mark: Mark | None) -> Value:
        if _INTEGER.fullmatch(text):
            digits = len(text.lstrip("+-"))
            if digits > _MAX_INTEGER_DIGITS:
                self._add(mark, f"a number of {digits} digits", f"at most {_MAX_INTEGER_DIGITS}")
                return REFUSED
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            return int(text, base)
        if _FLOAT.fullmatch(text) and math.isfinite(value := float(text)):
            return value
        if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            self._add(mark, f"the number {describe(text)}", "a finite number; in quotes it is text")
            return REFUSED
        return text

    def _check_properties(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> Refused:
        """Note a tag or an anchor written by hand."""
        if event.tag is not None:
            allowed = "no tags: a value's type follows from how it is written; quote what must be text"
            self._add(event.start_mark, f"the tag {describe(event.tag)}", allowed)
        if event.anchor is not None:
            allowed = "no anchors or aliases; what cases share goes under `defaults:`"
            self._add(event.start_mark, f"the anchor {describe(f'&{event.anchor}')}", allowed)
        return REFUSED

    def _attach(self, value: Value, mark: Mark | None) -> None:
        if not self._open:
            self._document.data = value
            return
        frame = self._open[-1]
        container = frame.container
        if isinstance(container, LocatedList):
            container.append(value)
            container.marks.append(mark)
        elif frame.key is None:
            frame.key = self._key(value, mark, container)
            frame.key_mark = mark
        else:
            if isinstance(frame.key, str):
                container[frame.key] = value
                container.marks += (frame.key_mark, mark)
            frame.key = None

    def _key(self, value: Value, mark: Mark | None, seen: LocatedDict) -> str | Refused:
        """The key, or REFUSED where its value must be dropped."""
        if isinstance(value, Refused):
            return value
        if not isinstance(value, str):
            found = "a list" if isinstance(value, list) else describe(value)
            self._add(mark, f"{found} as a key", "a key that is text; put it in quotes")
            return REFUSED
        if value == "<<":
            allowed = "no merge keys; what cases share goes under `defaults:`"
            self._add(mark, "the merge key '<<'", allowed)
            return REFUSED
        if value in seen:
            first = self._document.location(seen.marks[2 * list(seen).index(value) + 1])
            allowed = f"each key once; the first one is at {first}"
            self._add(mark, f"the key {describe(value)} a second time", allowed, key=value)
            return REFUSED
        return value

    def _add(self, mark: Mark | None, found: str, allowed: str, *, key: str | None = None) -> None:
        self._noted += 1
        steps = [*(frame.step for frame in self._open), self._step() if key is None else key]
        place = self._document.location(mark)
        self._document.problems.add(place, field=".".join(filter(None, steps)), found=found, allowed=allowed)

    def _step(self) -> str:
        """Where in the innermost open collection the next value goes; '' where there is no such thing."""
        frame = self._open[-1] if self._open else None
        if frame is None:
            return ""
        if isinstance(frame.container, LocatedList):
            return str(len(frame.container))
        return frame.key if isinstance(frame.key, str) else ""
