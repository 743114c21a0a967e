// What lets an actor fetch an adapter from another one, so that it need not show it the token that the learner wants: an
// actor may be anybody's machine, and it is others that name it.
//
//   learner ── key, with the answer to Register ──> every actor that serves adapters
//   actor ── ticket: HMAC(key, digest of the adapter) ──> another one, which knows the key as well
//
// The key is the learner process's own. Whoever has it can fetch adapters from actors of that run, and do nothing else.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server_context.h"

namespace flowawr {

std::string NewFetchKey();

// With the answer to a call: at the learner before it ends, at the actor after; empty: there was none.
void GiveFetchKey(const std::string& key, grpc::CallbackServerContext* context);
std::string FetchKeyOf(const grpc::ClientContext& context);

// For the adapter with that digest, in a call that has not begun.
void ShowTicket(const std::string& key, absl::string_view sha256, grpc::ClientContext* context);
// False as long as `key` is empty.
bool HasTicket(const std::string& key, absl::string_view sha256, const grpc::CallbackServerContext& context);

// Of the two sides of such a call: none is sent, none is asked for.
v1::NetworkConfig WithoutTokens(v1::NetworkConfig network);

}  // namespace flowawr
