"""Full-vocabulary metrics are of rows that are both there, whole and the recordings' own, or of none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.engines.contract import Answer, Row
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows
from harness.recordings.store import Recording
from harness.scoring.scoring import Scoring
from harness.workers.rows import row_file, save_rows

LETTERS = LetterIds(("A", "B"), (), (1, 2), ((), ()))
ROWS: dict[str, Row] = {
    engine: np.random.default_rng(seed).normal(size=32).astype(np.float32)
    for seed, engine in enumerate(("p-torch", "p-lmdeploy"))
}


def made(engine: str) -> Recording:
    row = ROWS[engine]
    generated = (int(row.argmax()),)
    reading = read_rows("forward", row[None], generated, letter_ids=LETTERS, top_k=3)
    answer = Answer(
        prompt_ids=(1, 2),
        generated_ids=generated,
        text="A",
        letter_ids=LETTERS.ids,
        answer_step=0,
        readings=(reading,),
    )
    return Recording(key=f"torch-{engine}-0", case="s.c", engine=engine, answer=answer, fingerprint={})


PAIR = (made("p-torch"), made("p-lmdeploy"))


@pytest.fixture
def scoring(tmp_path: Path) -> Scoring:
    own = Scoring(tmp_path, run_id="r", fresh=False, show=lambda _: None)
    own.store.rows_folder.mkdir()
    for one in PAIR:
        save_rows(own.store.rows_folder, one.key, {"forward": ROWS[one.engine]})
    return own


def test_metrics_are_kept_and_serve_when_rows_are_gone(scoring: Scoring) -> None:
    first = scoring.beside(*PAIR, "AB").full
    assert first is not None
    assert first.kl > 0
    assert scoring.store.get_metrics(PAIR[0].key, PAIR[1].key) == first.to_json()
    for one in PAIR:
        scoring.store.drop_rows(one.key, ["forward"])
    scoring.forget()
    assert scoring.beside(*PAIR, "AB").full == first


def one_is_gone(file: Path) -> None:
    file.unlink()


def one_is_damaged(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)


def one_is_another_recordings(file: Path) -> None:
    save_rows(file.parent, PAIR[0].key, {"forward": ROWS["p-lmdeploy"]})


@pytest.mark.parametrize("happens", [one_is_gone, one_is_damaged, one_is_another_recordings])
def test_a_pair_without_both_of_its_own_rows_has_no_metrics(
    scoring: Scoring, happens: Callable[[Path], None]
) -> None:
    happens(row_file(scoring.store.rows_folder, PAIR[0].key, "forward"))
    assert scoring.beside(*PAIR, "AB").full is None
    assert not scoring.store.has_metrics(PAIR[0].key, PAIR[1].key)
