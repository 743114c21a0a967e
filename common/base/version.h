#pragma once

namespace flowawr {

// The project's version, e.g. "0.1.0": for --version, Register and the build-info metric.
const char* Version();

}  // namespace flowawr
