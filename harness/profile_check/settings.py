"""Combinations of dtype, device and options that an engine refuses, or must not be given."""

from __future__ import annotations

from collections.abc import Iterator

from harness.cases.profiles import EngineSpec
from harness.machine.findings import Finding, right, wrong
from harness.profile_check.places import Places

__all__ = ["look_at_settings"]

_HALF = ("float16", "bfloat16")


def look_at_settings(engine: EngineSpec, places: Places, *, saved_as: str | None) -> Iterator[Finding]:
    """Findings on the settings of ``engine``, whose model was saved in ``saved_as``, None: not known."""
    settings = engine.settings
    problems = list(_problems(engine, places, saved_as))
    yield from problems
    if not problems:
        dtype = f"auto ({saved_as})" if settings.dtype == "auto" and saved_as else settings.dtype
        paths = ", ".join(settings.paths) or "of its own choice"
        yield right("settings", f"{dtype} on {settings.device}, paths {paths}")


def _problems(engine: EngineSpec, places: Places, saved_as: str | None) -> Iterator[Finding]:
    settings = engine.settings
    edit = "change the line in the profile"
    asked = (settings.kind, settings.device, settings.dtype, saved_as)
    if asked == ("lmdeploy", "cuda", "auto", "float32"):
        yield wrong(
            "settings",
            "dtype auto for a model that was saved in float32, which LMDeploy turns into float16 on a "
            "GPU without a word",
            places.of(engine, "dtype"),
            allowed=f"{' or '.join(_HALF)}, written out",
            command=edit,
        )
    if settings.options.get("attention") == "flash_attention_2":
        dtype = saved_as if settings.dtype == "auto" else settings.dtype
        if dtype is not None and dtype not in _HALF:
            yield wrong(
                "settings",
                f"attention flash_attention_2 with {dtype}",
                places.of(engine, "options.attention"),
                allowed=f"flash_attention_2 with {' or '.join(_HALF)}; sdpa or eager with any",
                command=edit,
            )
