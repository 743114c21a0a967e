// What a bench that times a device does before it reads the clock.
#pragma once

#include <ATen/DeviceAccelerator.h>
#include <c10/core/Device.h>

namespace flowawr {

// Waits for what the device was told to do; on a CPU it is done.
inline void Finish(at::Device device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

}  // namespace flowawr
