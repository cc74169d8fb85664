"""LMDeploy's PyTorch engine on a CPU: the device plug-in."""
