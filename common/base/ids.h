// Identifiers that people read and that do not repeat.
#pragma once

#include <string>

namespace flowawr {

// `bytes` bytes from the operating system's random source, in lower-case hex.
std::string RandomId(int bytes = 6);

}  // namespace flowawr
