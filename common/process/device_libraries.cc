#include "common/process/device_libraries.h"

#include <cstdlib>

namespace flowawr {

// 32 MB a thread and device: what LibTorch takes on Hopper anyway, and 24 MB more than on others.
void PrepareDeviceLibraries() { setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0); }

}  // namespace flowawr
