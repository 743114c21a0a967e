// SHA-256, the digest of everything that travels or is kept: adapters, groups, checkpoints.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

struct evp_md_ctx_st;

namespace flowawr {

// 32 raw bytes; absl::BytesToHexString() makes them readable.
std::string Sha256(absl::string_view bytes);

// 64 digits of the same.
std::string HexSha256(absl::string_view bytes);

// The same for bytes that come in pieces. Not thread-safe; movable.
class Sha256Hasher {
 public:
  Sha256Hasher();
  void Update(absl::string_view bytes);
  // Call once, last.
  std::string Finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// Compares in a time that depends on the lengths alone: for secrets.
bool EqualInConstantTime(absl::string_view a, absl::string_view b);

}  // namespace flowawr
