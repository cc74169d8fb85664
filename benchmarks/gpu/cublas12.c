/* libcublas.so.12 for an image that has libcublas.so.13 alone: the six functions that LMDeploy 0.18's TurboMind
   calls, handed on. Their types and constants are the same in cublas_api.h of 12.9 and 13.1. Where 13 is not there
   the library still loads, since every process of LMDeploy loads it, and a call ends the process. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void missing(void)
{
    fputs("libcublas.so.12 of benchmarks/gpu: libcublas.so.13, to which it hands on, is not here\n", stderr);
    abort();
}

#define HANDED_ON(name)                                                                                                 \
    void *name##_of_13 __attribute__((visibility("hidden"))) = (void *)missing;                                         \
    __asm__(".globl " #name "\n.type " #name ",@function\n" #name ":\n\tjmp *" #name "_of_13(%rip)\n")

HANDED_ON(cublasCreate_v2);
HANDED_ON(cublasDestroy_v2);
HANDED_ON(cublasGemmEx);
HANDED_ON(cublasGetMathMode);
HANDED_ON(cublasSetStream_v2);
HANDED_ON(cublasSetWorkspace_v2);

static void find(void *library, const char *name, void **place)
{
    void *function = dlsym(library, name);
    if (function != NULL)
        *place = function;
}

__attribute__((constructor)) static void find_all(void)
{
    void *library = dlopen("libcublas.so.13", RTLD_NOW | RTLD_LOCAL); /* PyTorch has loaded it */
    if (library == NULL)
        return;
    find(library, "cublasCreate_v2", &cublasCreate_v2_of_13);
    find(library, "cublasDestroy_v2", &cublasDestroy_v2_of_13);
    find(library, "cublasGemmEx", &cublasGemmEx_of_13);
    find(library, "cublasGetMathMode", &cublasGetMathMode_of_13);
    find(library, "cublasSetStream_v2", &cublasSetStream_v2_of_13);
    find(library, "cublasSetWorkspace_v2", &cublasSetWorkspace_v2_of_13);
}
