// A library with what cuda_driver.cc asks a driver for. PRETEND_CUDA_ERROR is what cuInit() then answers.
#include <cstddef>
#include <cstdio>
#include <cstdlib>

extern "C" {
int cuInit(unsigned) {
  const char* const error = std::getenv("PRETEND_CUDA_ERROR");
  return error == nullptr ? 0 : std::atoi(error);
}
int cuDriverGetVersion(int* version) { return *version = 12080, 0; }
int cuDeviceGetCount(int* count) { return *count = 2, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = 10 + ordinal, 0; }
int cuDeviceGetName(char* name, int size, int device) { return std::snprintf(name, size, "Card %d", device), 0; }
int cuDeviceGetPCIBusId(char* id, int size, int device) { return std::snprintf(id, size, "0000:%02x:00.0", device), 0; }
int cuDeviceTotalMem_v2(size_t* bytes, int device) { return *bytes = size_t(device) << 30, 0; }
}
