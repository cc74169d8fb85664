/* One GPU with a process on it, as libnvidia-ml.so.1 would tell it: names, structures and numbers of nvml.h. */
#include <string.h>

typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };
#define GIB (1024ull * 1024 * 1024)
#ifndef DRIVER
#define DRIVER "535.104.05"
#define CUDA 12020
#endif

static int device;

static nvmlReturn_t give(const char *words, char *text, unsigned int length) {
    if (strlen(words) >= length) return INSUFFICIENT_SIZE;
    strcpy(text, words);
    return SUCCESS;
}
static nvmlReturn_t known(nvmlDevice_t handle) { return (void *)handle == &device ? SUCCESS : INVALID_ARGUMENT; }

nvmlReturn_t nvmlInit_v2(void) { return SUCCESS; }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned int length) { return give(DRIVER, text, length); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = CUDA; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *handle) {
    *handle = (nvmlDevice_t)&device;
    return index ? INVALID_ARGUMENT : SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *text, unsigned int length) {
    return known(handle) ? INVALID_ARGUMENT : give("NVIDIA A100-SXM4-80GB", text, length);
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *text, unsigned int length) {
    return known(handle) ? INVALID_ARGUMENT : give("GPU-eaf23aa1-4d3d-596c-da66-b86b0e5db584", text, length);
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
    *memory = (nvmlMemory_t){80 * GIB, 19 * GIB, 61 * GIB};
    return known(handle);
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int *major, int *minor) {
    *major = 8, *minor = 0;
    return known(handle);
}
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t handle, unsigned int *now, unsigned int *later) {
    *now = *later = 0;
    return known(handle);
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(
    nvmlDevice_t handle, unsigned int *count, nvmlProcessInfo_t *table) {
    if (*count < 2) return *count = 2, INSUFFICIENT_SIZE;
    table[0] = (nvmlProcessInfo_t){4242, 60 * GIB, ~0u, ~0u};
    table[1] = (nvmlProcessInfo_t){4343, ~0ull, ~0u, ~0u};
    *count = 2;
    return known(handle);
}
nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *text, unsigned int length) {
    return pid == 4242 ? give("/opt/serving/bin/python3 -m server", text, length) : NOT_SUPPORTED;
}
