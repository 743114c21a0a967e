// What CUDA's libraries read from the environment when they are first used.
#pragma once

namespace flowawr {

// For the beginning of main(), as no other thread may be running: has cuBLAS keep to workspaces with which it gives the
// same bits each time (ChooseKernels()), unless CUBLAS_WORKSPACE_CONFIG is set already. Without a GPU nobody reads it.
void PrepareDeviceLibraries();

}  // namespace flowawr
