"""The engine ``lmdeploy``: LMDeploy's own pipeline."""
