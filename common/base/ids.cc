#include "common/base/ids.h"

#include <random>

#include "absl/strings/escaping.h"

namespace flowawr {

std::string RandomId(int bytes) {
  std::random_device device;
  std::string raw(bytes, '\0');
  for (char& byte : raw) byte = static_cast<char>(device() & 0xff);
  return absl::BytesToHexString(raw);
}

}  // namespace flowawr
