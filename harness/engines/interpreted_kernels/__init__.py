"""LMDeploy's CUDA backend with its own Triton kernels, interpreted on a CPU."""
