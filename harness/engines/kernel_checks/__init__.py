"""Each of LMDeploy's Triton kernels by itself, interpreted, against float64: what `harness kernels` runs."""
