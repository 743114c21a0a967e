#include "common/base/hmac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace flowawr {

std::string HmacSha256(absl::string_view key, absl::string_view bytes) {
  std::string code(32, '\0');
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(bytes.data()),
       bytes.size(), reinterpret_cast<unsigned char*>(code.data()), &size);
  return code;
}

}  // namespace flowawr
