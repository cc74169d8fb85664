"""The page as text: what is in it, that nothing in it can run, and that it stays small."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.engines.images import open_image
from harness.errors import RecordingError
from harness.reports.page import page as page_module
from harness.reports.page.document import Report, make_report
from harness.reports.page.page import render_page
from harness.reports.page.thumbnails import LARGEST, make_thumbnail
from harness.reports.report_files import write_document, write_page
from harness.verdicts.findings import Finding
from tests.reports.conftest import Open
from tests.reports.report_data import draw_image, make_input

LIMIT = 15_000_000
HOSTILE = "</script><script>document.title='owned'</script><!--<img src=x onerror=alert(1)> \u2028 & \" '"


def embedded(text: str, name: str) -> Any:
    """The JSON of one of the page's data blocks."""
    found = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert len(found) == 1
    return json.loads(gzip.decompress(base64.b64decode(found[0])) if name == "document" else found[0])


def document_of(file: Path) -> Any:
    """The document that a page holds."""
    return embedded(file.read_text(encoding="utf-8"), "document")


def test_the_document_is_in_the_page_unchanged(report60: Report) -> None:
    text = render_page(report60)
    assert embedded(text, "document") == json.loads(report60.to_json())
    assert set(embedded(text, "pictures")) == set(report60.document.images)


def test_it_names_nothing_outside_itself(file60: Path) -> None:
    text = file60.read_text(encoding="utf-8")
    addresses = set(re.findall(r"""(?:src|href|action)=["']([^"']*)""", text))
    assert addresses == {"#main", "data:,"}
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {
        "http://www.w3.org/2000/svg"
    }  # a name, not fetched
    assert "url(http" not in text
    assert "@import" not in text


def test_its_policy_allows_its_own_script_and_style_only(file60: Path) -> None:
    text = file60.read_text(encoding="utf-8")
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", rules[rule])


def test_hostile_text_stays_text(pictures: Path, tmp_path: Path, open_page: Open) -> None:
    given = make_input(6, pictures)
    cases = [replace(case, prompt=HOSTILE, system=HOSTILE) for case in given.cases]
    changes = [replace(change, errors=(HOSTILE,)) for change in given.changes]
    finding = Finding(name="question", text=HOSTILE, cases=("a.b",), blocks=True)
    verdict = replace(given.verdict, findings=(finding,))
    given = replace(
        given, name=HOSTILE, cases=cases, changes=changes, notes=(HOSTILE,), verdict=verdict, changed=()
    )
    file = tmp_path / "hostile.html"
    write_page(make_report([given]), file)
    page = open_page(file)
    page.locator("button.opens").first.click()
    assert page.locator(".prompt").first.inner_text().replace("\n", "\u2028") == HOSTILE
    # What comes before the numbers comes before the verdict, and is among what changed.
    first = page.locator("#all > *").first
    assert first.get_attribute("class") == "finding blocks"
    assert first.text_content() == HOSTILE
    assert "The question: the two sides were not asked the same" in page.locator("#changed").inner_text()
    assert page.locator("script").count() == 3
    assert page.locator("img[src=x]").count() == 0
    assert page.title().startswith(given.verdict.verdict)


def test_a_thousand_distinct_pictures_stay_under_fifteen_megabytes(file1000: Path) -> None:
    text = file1000.read_text(encoding="utf-8")
    pictures = embedded(text, "pictures")
    assert len(pictures) > 950
    assert len({one["address"] for one in pictures.values()}) == len(pictures)
    assert all(one["address"].startswith("data:image/webp;base64,") for one in pictures.values())
    assert 2_000_000 < len(text.encode()) < LIMIT


def test_pictures_share_what_room_there_is(
    report60: Report, monkeypatch: pytest.MonkeyPatch, file60: Path
) -> None:
    roomy = embedded(file60.read_text(encoding="utf-8"), "pictures")
    data = len(file60.read_bytes()) - sum(len(one["address"]) + len(one["full"]) for one in roomy.values())
    monkeypatch.setattr(page_module, "BUDGET", data + 60_000)
    tight = render_page(report60)
    assert len(tight.encode()) < data + 61_000
    pictures = embedded(tight, "pictures")
    assert all(one["address"] or one["problem"] for one in pictures.values())
    assert sum(bool(one["address"]) for one in pictures.values()) > 40


def test_a_thumbnail_keeps_its_budget_and_its_proportions(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    draw_image(file, 3)
    for most in (LARGEST, 1500, 700):
        picture = make_thumbnail(file, most=most)
        data = base64.b64decode(picture.address.partition(",")[2])
        assert 0 < len(data) <= most
        with Image.open(io.BytesIO(data)) as small:
            assert small.width / small.height == pytest.approx(240 / 180, rel=0.1)
    assert make_thumbnail(file, most=10).problem == "image left out to keep this page small"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_pictures_of_every_kind_become_thumbnails(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "a.tiff"
    Image.new(mode, (300, 200)).save(file)
    assert make_thumbnail(file).address.startswith("data:image/webp")


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "hidden.png"])
def test_a_thumbnail_shows_what_models_saw(tmp_path: Path, name: str) -> None:
    """Neither turned by EXIF data, nor with what transparency hides left out."""
    shape = Image.new("RGB", (120, 80), "white")
    shape.paste("red", (0, 0, 40, 40))
    exif = shape.getexif()
    exif[0x0112] = 6
    if name == "hidden.png":
        shape.putalpha(0)
    shape.save(tmp_path / name, exif=exif)
    data = base64.b64decode(make_thumbnail(tmp_path / name).address.partition(",")[2])
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.mode == "RGB"
        models = open_image(str(tmp_path / name))
        assert shown.size == models.size
        assert np.abs(np.asarray(shown, dtype=float) - np.asarray(models, dtype=float)).mean() < 4


def test_what_is_no_picture_gets_a_word(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    assert make_thumbnail(tmp_path / "broken.png")[:2] == ("", "image unreadable")
    assert make_thumbnail(tmp_path / "none.png")[:2] == ("", "image missing")


def test_the_page_shows_that_word(pictures: Path, tmp_path: Path, open_page: Open) -> None:
    given = make_input(6, pictures)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    images: list[tuple[Path, ...]] = [(tmp_path / "none.png",), (tmp_path / "broken.png",), ()]
    cases = [replace(case, images=image) for case, image in zip(given.cases, images, strict=False)]
    file = tmp_path / "report.html"
    write_page(make_report([replace(given, cases=[*cases, *given.cases[3:]])]), file)
    page = open_page(file)
    for case, word in zip(cases, ("image missing", "image unreadable", "no image"), strict=True):
        page.get_by_role("button", name=case.name).click()
        assert page.locator(".picture.none.large").inner_text() == word
        page.get_by_role("button", name=case.name).click()


def test_files_are_written_whole_or_not_at_all(report60: Report, tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.json"
    write_document(report60, file)
    assert file.read_text(encoding="utf-8") == report60.to_json()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    (tmp_path / "taken").mkdir()
    with pytest.raises(RecordingError, match=r"cannot write .*taken"):
        write_document(report60, tmp_path / "taken")
    with pytest.raises(RecordingError, match="cannot write"):
        write_page(report60, file / "below-a-file.html")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "report.json", "taken"]
