"""Workers: one process per engine, in the interpreter that the profile names.

`run` scores requests in a worker and yields events; whatever happens to the worker, every request gets
exactly one `Scored` or `Failed`. `probe` reports what an interpreter and its machine are, for fingerprints,
`find_model` turns a hub id into a folder, and `ask_tokenizer` resolves letters without a model's weights.
Nothing here imports an engine's libraries.

==========================  =====================================================================
parent's side
``events.py``               `Job` and the events
``supervisor.py``           batches, who is blamed when a worker ends early, when to give up
``conversation.py``         loading, and one batch, as the parent sees them
``endings.py``              how a worker ended, in words
``handed_over.py``          whether an answer fits its request
``process.py``              one worker process: descriptors, log, ending its whole group
``gpu_turn.py``             one run at a time on a GPU, and its memory free again before the next engine
``interpreter.py``          `probe`, `toolkit`, `find_model`, `ask_tokenizer`
both sides
``protocol.py``             JSON lines, and every message there is
``rows.py``                 full rows of logits on disk
inside the worker
``worker.py``               the script that is started
``serving.py``              loads the engine and answers the parent
``interpreter_report.py``   the script behind `probe` and `toolkit`
``hub_report.py``           the script behind `find_model`, and what a model's folder must hold
``tokenizer_report.py``     the script behind `ask_tokenizer`
==========================  =====================================================================
"""

from __future__ import annotations

from harness.workers.events import Event, Failed, Job, Loaded, Progress, Scored
from harness.workers.interpreter import ask_tokenizer, find_model, probe
from harness.workers.supervisor import run

__all__ = [
    "Event",
    "Failed",
    "Job",
    "Loaded",
    "Progress",
    "Scored",
    "ask_tokenizer",
    "find_model",
    "probe",
    "run",
]
