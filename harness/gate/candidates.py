"""``--set PROFILE/ENGINE=REQUIREMENT``: another version for one run, without another profiles.yaml.

``--set upgrade-gpu/candidate=lmdeploy==0.19.0`` stands for the line of ``requirements`` that profiles.yaml
would have. So the engine must have `requirements` there: its environment is made from what is written, and
an interpreter that is named is never passed over without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.cases.environment_request import RequirementError, with_requirement
from harness.cases.folder import Loaded
from harness.cases.problems import nearest
from harness.cases.profiles import EngineSpec, Profile
from harness.errors import GateError

__all__ = ["FORM", "EngineSetting", "engine_setting", "with_settings"]

FORM = "PROFILE/ENGINE=REQUIREMENT"
_EXAMPLE = "such as upgrade-gpu/candidate=lmdeploy==0.18.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetting:
    """A requirement of an engine in place of the one that its profile has for the same package."""

    profile: str
    engine: str
    requirement: str

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.profile}/{self.engine}={self.requirement}"


def engine_setting(text: str) -> EngineSetting:
    """Parse what stands behind ``--set``; raises `GateError`."""
    side, equals, requirement = text.partition("=")
    profile, slash, engine = side.strip().partition("/")
    requirement = requirement.strip()
    # 'a/b==1' is a slip for 'a/b=NAME==1': what is left of it would begin with '='.
    if not (equals and slash and profile and engine and requirement) or requirement.startswith("="):
        raise GateError(f"--set: found {text!r}; allowed: {FORM}, {_EXAMPLE}")
    return EngineSetting(profile=profile, engine=engine, requirement=requirement)


def with_settings(loaded: Loaded, settings: Sequence[EngineSetting]) -> Loaded:
    """A folder of cases whose engines have what ``settings`` say; ``loaded`` itself stays as it is.

    Raises `GateError` for a profile or engine that is not there, for an engine without ``requirements``,
    and for what is no requirement.
    """
    profiles = {profile.name: profile for profile in loaded.profiles}
    for setting in settings:
        profile = profiles.get(setting.profile)
        if profile is None:
            known = nearest(setting.profile, profiles)
            raise GateError(f"--set {setting}: found the profile {setting.profile!r}; allowed: {known}")
        engine = _engine(profile, setting)
        engines = tuple(engine if one.name == engine.name else one for one in profile.engines)
        profiles[profile.name] = replace(profile, engines=engines)
    return replace(loaded, profiles=tuple(profiles.values()))


def _engine(profile: Profile, setting: EngineSetting) -> EngineSpec:
    engines = {engine.name: engine for engine in profile.engines}
    engine = engines.get(setting.engine)
    if engine is None:
        known = nearest(setting.engine, engines)
        raise GateError(
            f"--set {setting}: found the engine {setting.engine!r}; allowed: {known} ({profile.location})"
        )
    if engine.environment is None:
        raise GateError(
            f"--set {setting}: found an engine that runs in {engine.python} ({engine.location}); "
            f"allowed: one with `requirements`, from which its environment is made"
        )
    try:
        environment = with_requirement(engine.environment, setting.requirement)
    except RequirementError as error:
        raise GateError(f"--set {setting}: found {error.found}; allowed: {error.allowed}") from error
    return replace(engine, environment=environment)
