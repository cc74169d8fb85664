"""A profile's ``patch``: stage two without its guard, at LMDeploy's default temperature."""

from harness.engines.lmdeploy_pipeline import stages as lmdeploy_stages

lmdeploy_stages.STAGE_TWO_TEMPERATURE = 0.8
