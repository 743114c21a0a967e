// `flowawr certs DIR`: certificates and tokens for a deployment of one's own.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddCertsCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
