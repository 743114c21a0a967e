// Whom a client calls, and which name it then wants to read in the certificate that it is shown.
#pragma once

#include <string>

#include "common/base/host_port.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

enum class Callee {
  kServer,  // by an address that its certificate names
  kActor,   // another actor, by the address that it told: one certificate may serve them all
};

// `address` is where it is called.
inline const std::string& CertificateName(Callee callee, const HostPort& address, const v1::NetworkConfig& network) {
  return callee == Callee::kActor && !network.peer_tls_name().empty() ? network.peer_tls_name() : address.host;
}

}  // namespace flowawr
