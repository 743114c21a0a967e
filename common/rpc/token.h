// The secrets of a deployment, in files of one token a line.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// The tokens in `token_file`, blanks and empty lines left out: 1 to 8. Servers take any of them, clients send the first,
// so that a new one can be brought everywhere before the old one goes. `field` is what errors call the file.
// InvalidArgument when one is shorter than 16 characters or holds anything but visible ASCII; never shows it.
absl::StatusOr<std::vector<std::string>> ReadTokens(const std::string& token_file,
                                                    const std::string& field = "network.token_file");

// The one that clients send.
absl::StatusOr<std::string> ReadToken(const std::string& token_file);

// The file whose token a client with this section sends; empty: none. token_file, else that of the role which may do
// most: the operator's, the actors', the reward users', the one for looking.
const std::string& TokenFileToSend(const v1::NetworkConfig& network);

}  // namespace flowawr
