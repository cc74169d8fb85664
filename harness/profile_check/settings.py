"""Combinations of dtype, device and options that an engine refuses, or must not be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.cases.problems import nearest
from harness.cases.profiles import EngineSpec
from harness.machine.findings import Finding, right, unknown, wrong
from harness.profile_check.places import Places

__all__ = ["look_at_overrides", "look_at_settings"]

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


def look_at_overrides(engine: EngineSpec, places: Places, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Entries of ``hf_overrides`` that the model's ``config`` has nowhere; LMDeploy takes any without a word.

    They are not wrong for sure: a config.json may leave out what has a default.
    """

    def strange(overrides: Mapping[str, Any], known: Any, steps: str) -> Iterator[Finding]:  # noqa: ANN401
        names = known if isinstance(known, dict) else {}
        for name, value in overrides.items():
            if name not in names:
                text = f"{places.of(engine, steps)}: {name}, which config.json does not have there"
                closest = nearest(name, sorted(names)) if names else "nothing stands there"
                yield unknown("hf_overrides", f"{text}; it has {closest}")
            elif isinstance(value, dict):
                yield from strange(value, names[name], f"{steps}.{name}")

    overrides = engine.settings.options.get("hf_overrides")
    if isinstance(overrides, dict):
        yield from strange(overrides, config, "options.hf_overrides")


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
