"""What is shown of what others wrote: terminals, the page, GitHub and JUnit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.reports.ci.github import Level, annotation, cell, table
from harness.reports.worst_cases import one_line
from tests.fuzz.ground import HOSTILE, need, target

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _text_seeds() -> Iterator[bytes]:
    yield HOSTILE.encode("utf-8", "surrogatepass")
    yield from (
        b"</script><!--",
        b"| a | b |\n- [x](javascript:1) @all https://x",
        b"&#x0;<![CDATA[]]>",
        b"\r\n::error::x%0A,:",
    )


@target("shown", "harness.reports.ci.github", "harness.reports.worst_cases", seeds=_text_seeds)
def shown(data: bytes, folder: Path) -> None:
    """One line stays one line, without markup of any kind; XML stays XML."""
    text = (
        data.decode("utf-8", "surrogatepass" if len(data) % 2 else "replace")
        if _decodes(data)
        else data.decode("latin-1")
    )
    line = annotation(Level.ERROR, title=text, message=text, where=(text, 1, 2))
    need(not _CONTROL.search(line), "an annotation with control characters")
    need(line.count("::") == 2 + line.partition("::")[2].partition("::")[2].count("::"), "another command")
    need(re.fullmatch(r"::error file=[^:,]*,line=1,col=2,title=[^:,]*::.*", line), "another annotation")
    written = cell(text)
    need(
        not _CONTROL.search(written) and not re.search(r"(?<!\\)[|<>`*\[\]]", written),
        f"markup in {written!r}",
    )
    need(table(("a",), [(text,)]).count("\n") == 2, "another row")
    need(not _CONTROL.search(one_line(text)), "another line")
    from harness.reports.ci.junit import _xml

    element = ET.Element("a", b=_xml(text))
    element.text = _xml(text)
    ET.fromstring(ET.tostring(element))


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
