#include "common/rpc/token_travel.h"

#include "absl/strings/str_cat.h"

namespace flowawr {

absl::Status MaySendToken(const HostPort& to, bool is_encrypted, bool insecure, absl::string_view setting) {
  if (is_encrypted || insecure || to.is_loopback()) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the token would travel to ", to.ToString(), " unencrypted; set ",
                                                  setting, ", or network.insecure: true on a network that you trust"));
}

}  // namespace flowawr
