"""A profile's ``patch``: stage two without its guard, at LMDeploy's default temperature."""

from harness.engines import lmdeploy_stages

lmdeploy_stages.STAGE_TWO_TEMPERATURE = 0.8
