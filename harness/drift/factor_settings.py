"""The ten factors: what each changes on two engines, or why an engine has none of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from harness.cases.engine_options import without_rows
from harness.checks.tolerances import known_dtypes
from harness.drift.run import Pair
from harness.engines.contract import EngineSettings, Json
from harness.noise.variants import variants_for
from harness.schemas.options import OPTIONS, Side, side_of, taken_by, takers
from harness.scoring.subjects import Subject

__all__ = ["Change", "Factor", "factors_of"]

Change: TypeAlias = Callable[[Subject], Subject]
_SYSTEM: Final = "You are a helpful assistant."
_CHUNK: Final = 256  # tokens: about one tile of an image


class Factor(NamedTuple):
    """One setting: what it ``was`` and ``becomes``, and the ``changes`` of A and B, None for none.

    ``why`` says that these engines have none of it, '' where they do.
    """

    name: str
    was: str = ""
    becomes: str = ""
    changes: tuple[Change | None, Change | None] = (None, None)
    why: str = ""


def factors_of(pair: Pair, dtypes: tuple[str, str], *, images: bool) -> list[Factor]:
    """The factors of two engines: settings of B, of both what is of the question, and a dtype they share.

    Where A has another value B is given that, else one that `variants_for` knows. ``dtypes`` are those that
    they computed in; ``images`` says whether a case in question has one.
    """
    a, b = pair.a.engine.settings, pair.b.engine.settings
    side = side_of(b.kind, b.options, b.device)

    def varied(name: str, setting: str, variants: tuple[str, ...], why: str = "") -> Factor:
        others = [
            _value(each.settings, setting) for each in variants_for(b) if each.name.startswith(variants)
        ]
        if not others:
            return Factor(name, why=_not_taken(setting, side) or f"{why}; B is {side}")
        theirs = _value(a, setting)
        return _set(name, setting, _value(b, setting), theirs if theirs in others else others[0])

    return [
        _dtype(pair, dtypes),
        varied("batch size", "batch_size", ("batch-",)),
        varied("attention kernel", "attention", ("attention-",), "its model's own code chooses it"),
        _prefix_cache(b, side),
        _chunked(b, side),
        _template(b),
        _system(pair),
        _tiles(a, b, images=images),
        varied("eager mode", "eager_mode", ("eager", "graphs"), "CUDA graphs need device: cuda"),
        varied("threads", "threads", ("threads-",), "they are varied with device: cpu"),
    ]


def _value(settings: EngineSettings, name: str) -> Json:
    value: Json = getattr(settings, name) if hasattr(settings, name) else settings.options.get(name)
    return value


def _not_taken(setting: str, side: Side) -> str:
    option = next((each for each in OPTIONS if each.name == setting), None)
    return "" if option is None or taken_by(option, side) else f"it is for {takers(option)}; B is {side}"


def _set(name: str, setting: str, was: Json, value: Json, *, on: str = "B", why: str = "") -> Factor:
    """Sets a field of the engines ``on`` or, by its name, an option; None leaves an option out."""

    def change(subject: Subject) -> Subject:
        settings = subject.engine.settings
        if hasattr(settings, setting):
            changed = replace(settings, **{setting: value})  # type: ignore[arg-type]
        else:
            rest = {each: held for each, held in settings.options.items() if each != setting}
            changed = replace(settings, options=rest if value is None else {**rest, setting: value})
        return replace(subject, engine=replace(subject.engine, settings=changed))

    told, becomes = ("left out" if each is None else str(each) for each in (was, value))
    return Factor(name, told, becomes, (change if "A" in on else None, change if "B" in on else None), why)


def _dtype(pair: Pair, dtypes: tuple[str, str]) -> Factor:
    sides = [s.engine.settings for s in (pair.a, pair.b)]
    if any("url" in each.options for each in sides):
        return Factor("dtype", why="a server that runs already is as it was started")
    ours, theirs = (known_dtypes(dtype)[0] for dtype in dtypes)
    float32 = [each.kind == "torch" or each.device == "cpu" for each in sides]  # LMDeploy has none on a GPU
    if ours != theirs:
        back = ours == "float32" and not float32[1]
        return _set("dtype", "dtype", *((ours, theirs) if back else (theirs, ours)), on="A" if back else "B")
    other = ("float32" if all(float32) else "float16") if ours == "bfloat16" else "bfloat16"
    return _set("dtype", "dtype", ours, other, on="AB")


def _prefix_cache(b: EngineSettings, side: Side) -> Factor:
    setting, was = "prefix_cache", b.options.get("prefix_cache")
    why = _not_taken(setting, side)
    if was is None and any(without_rows(side, {**b.options, setting: "warm"}, path) for path in b.paths):
        why = f"LMDeploy gives no rows then by one of the paths that B is asked for, {', '.join(b.paths)}"
    return _set("prefix caching", setting, was, None if was else "warm", why=why)


def _chunked(b: EngineSettings, side: Side) -> Factor:  # TurboMind's is not run by us
    setting = "max_prefill_token_num"
    spoilt = f"a prompt longer than {setting} is refused: in chunks, the last row of each is spoilt"
    why = _not_taken(setting, side) or spoilt * (side.backend == "pytorch")
    return _set("chunked prefill", setting, b.options.get(setting), _CHUNK, why=why)


def _template(b: EngineSettings) -> Factor:
    if b.kind == "torch" and b.options.get("trust_remote_code") is True:
        was = b.options.get("template", "own")
        return _set("template", "template", was, "own" if was == "tokenizer" else "tokenizer")
    if (config := b.options.get("chat_template_config")) is not None:
        return _set("template", "chat_template_config", config, None)
    return Factor("template", why="B has neither a chat_template_config nor a model with code of its own")


def _system(pair: Pair) -> Factor:
    ours, theirs = (s.profile.system if s.case.system is None else s.case.system for s in (pair.a, pair.b))
    text = ours if ours != theirs else None if theirs else _SYSTEM

    def change(subject: Subject) -> Subject:
        case, profile = replace(subject.case, system=text), replace(subject.profile, system=text)
        return replace(subject, case=case, profile=profile)

    was, becomes = ("none" if each is None else repr(each) for each in (theirs, text))
    return Factor("system text", was, becomes, (change if ours == theirs else None, change))


def _tiles(a: EngineSettings, b: EngineSettings, *, images: bool) -> Factor:
    why = "" if images else "no case in question has an image"
    if "api" in (a.kind, b.kind):
        why = "a server keeps to its model's own limit"
    alike, own = a.max_tiles == b.max_tiles, b.max_tiles
    most = (2 if own == 1 else 1) if alike else a.max_tiles
    return _set("tile limit", "max_tiles", own, most, on="AB" if alike else "B", why=why)
