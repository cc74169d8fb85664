"""Which of LMDeploy's Triton kernels changed: each version's, interpreted on a CPU, against float64."""
