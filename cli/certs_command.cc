#include "cli/certs_command.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/certificate_authority.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/rpc/token.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

constexpr char kDescription[] = "Make an authority, certificates and tokens for TLS between the processes";

constexpr char kFooter[] = R"(Examples:
  flowawr certs certs --host trainer.example --tokens     for a learner and reward servers on that machine
  flowawr certs certs --client lab-7                      and later a client's, for network.mutual_tls
  flowawr certs certs --renew                             the server's anew, by the same authority, for the same hosts
  flowawr certs certs --renew --tokens                    the tokens alone anew; ca-key.pem need not be there

Makes what DIR lacks and prints the section `network` to paste: ca.pem and ca-key.pem; server.pem and server-key.pem, for
the hosts given, this machine's name and loopback; with --client NAME client-NAME.pem and client-NAME-key.pem; with
--tokens a token of each role. Keys and tokens are readable by their owner alone. Nothing that is there is written over
but by --renew; a renewed token stands before the one that it follows, which servers still take until the next
renewal. Processes that run take new files by themselves.

A renewed certificate has the hosts of the one before, and those that --host adds. ca-key.pem is needed to make
certificates only: keep it where no process of the run is. To begin anew, move DIR away.)";

constexpr int kDefaultDays = 365;
constexpr absl::Duration kAuthorityLifetime = absl::Hours(24 * 3653);
constexpr int kTokenBytes = 32;
constexpr size_t kFewestTokenCharacters = 16;  // of a token that ReadToken() takes

struct TokenFile {
  const char *file, *field;
};
constexpr TokenFile kTokenFiles[] = {{"token", "token_file"},
                                     {"actor-token", "actor_token_file"},
                                     {"reward-token", "reward_token_file"},
                                     {"operator-token", "operator_token_file"},
                                     {"read-only-token", "read_only_token_file"}};

struct Arguments {
  std::string folder;
  std::vector<std::string> hosts, clients;
  int days = 0;  // 0: not given
  bool tokens = false, renew = false;

  std::string File(const std::string& name) const { return folder + "/" + name; }
};

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Appears whole, readable by nobody else from its first byte on.
absl::Status WriteSecret(const std::string& path, const std::string& text) {
  const std::string temporary = absl::StrCat(path, ".", RandomId());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoStatus(errno, "writing", temporary);
  absl::Status status = AppendWhole(fd, temporary, text);
  if (status.ok() && fsync(fd) != 0) status = ErrnoStatus(errno, "writing", temporary);
  close(fd);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = ErrnoStatus(errno, "writing", path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

absl::Status WritePair(const Arguments& arguments, const std::string& name, const KeyAndCertificate& pair) {
  FLOWAWR_RETURN_IF_ERROR(WriteSecret(arguments.File(name + "-key.pem"), pair.key));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(arguments.File(name + ".pem"), pair.certificate));
  std::printf("made %s and %s-key.pem\n", arguments.File(name + ".pem").c_str(), name.c_str());
  return absl::OkStatus();
}

absl::StatusOr<CertificateAuthority> FindAuthority(const Arguments& arguments) {
  const std::string key_file = arguments.File("ca-key.pem"), file = arguments.File("ca.pem");
  if (!Exists(file) && !Exists(key_file)) {
    FLOWAWR_ASSIGN_OR_RETURN(CertificateAuthority authority, CertificateAuthority::Make(kAuthorityLifetime));
    FLOWAWR_ASSIGN_OR_RETURN(const KeyAndCertificate pem, authority.pem());
    FLOWAWR_RETURN_IF_ERROR(WritePair(arguments, "ca", pem));
    return authority;
  }
  FLOWAWR_ASSIGN_OR_RETURN(std::string key, ReadFile(key_file, 1 << 20));
  FLOWAWR_ASSIGN_OR_RETURN(std::string certificate, ReadFile(file, 1 << 20));
  absl::StatusOr<CertificateAuthority> authority = CertificateAuthority::Load({std::move(key), std::move(certificate)});
  if (!authority.ok()) return Annotate(authority.status(), absl::StrCat("the authority in ", file));
  return authority;
}

// Those that were asked for, those that the certificate has whose place it takes, this machine and loopback.
absl::StatusOr<std::vector<std::string>> ServerHosts(const Arguments& arguments) {
  std::vector<std::string> hosts = arguments.hosts;
  if (const std::string file = arguments.File("server.pem"); Exists(file)) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string before, ReadFile(file, 1 << 20));
    const absl::StatusOr<std::vector<std::string>> named = HostsOf(before);
    if (!named.ok())
      return Annotate(named.status(), absl::StrCat(file, " (move it away, and name all its hosts by --host)"));
    hosts.insert(hosts.end(), named->begin(), named->end());
  }
  char own[256] = "";
  if (gethostname(own, sizeof(own) - 1) == 0 && CheckHost(own).ok()) hosts.push_back(own);
  hosts.insert(hosts.end(), {"localhost", "127.0.0.1", "::1"});
  std::vector<std::string> once;
  for (std::string& host : hosts)
    if (std::find(once.begin(), once.end(), host) == once.end()) once.push_back(std::move(host));
  return once;
}

// A file that is missing or too short to hold a token has none; one with a token and something wrong is an error.
absl::StatusOr<std::optional<std::string>> TokenIn(const std::string& path) {
  if (!Exists(path)) return std::nullopt;
  absl::StatusOr<std::string> token = ReadToken(path);
  if (token.ok()) return *std::move(token);
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 20));
  if (absl::StripAsciiWhitespace(text).size() < kFewestTokenCharacters) return std::nullopt;
  return token.status();
}

// All or, where one file is wrong, none.
absl::Status MakeTokens(const Arguments& arguments) {
  struct New {
    std::string path, text;
    bool is_renewed = false;
  };
  std::vector<New> made;
  for (const TokenFile& file : kTokenFiles) {
    const std::string path = arguments.File(file.file);
    FLOWAWR_ASSIGN_OR_RETURN(const std::optional<std::string> before, TokenIn(path));
    if (before && !arguments.renew) continue;
    made.push_back({path, absl::StrCat(RandomId(kTokenBytes), "\n", before ? *before + "\n" : ""), before.has_value()});
  }
  for (const New& token : made) {
    FLOWAWR_RETURN_IF_ERROR(WriteSecret(token.path, token.text));
    std::printf("%s %s\n", token.is_renewed ? "renewed" : "made", token.path.c_str());
  }
  return absl::OkStatus();
}

absl::Status CheckClientName(const std::string& name) {
  const bool is_good = !name.empty() && name.size() <= 64 && name.front() != '.' &&
                       std::all_of(name.begin(), name.end(), [](unsigned char c) {
                         return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
                       });
  if (is_good) return absl::OkStatus();
  return UsageError(absl::StrCat("--client \"", name, "\": a name has 1 to 64 letters, digits, \"-\", \"_\" and \".\""));
}

void PrintNetwork(const Arguments& arguments) {
  const auto has = [&](const char* name) { return Exists(arguments.File(name)); };
  std::error_code ignored;
  const std::string folder = fs::absolute(arguments.folder, ignored).lexically_normal().string();
  std::printf("\nFor the configuration of the run and its reward servers:\n\nnetwork:\n");
  for (const auto& [field, file] : {std::pair{"tls_cert", "server.pem"}, {"tls_key", "server-key.pem"}, {"tls_ca", "ca.pem"}})
    std::printf("  %s: %s/%s\n", field, folder.c_str(), file);
  for (const TokenFile& token : kTokenFiles)
    if (has(token.file)) std::printf("  %s: %s/%s\n", token.field, folder.c_str(), token.file);
  std::printf("\nFor an actor on another machine (--network-config), which needs %sca.pem there:\n\nnetwork:\n",
              has("actor-token") ? "actor-token and " : "");
  std::printf("  tls_ca: %s/ca.pem\n", folder.c_str());
  if (has("actor-token")) std::printf("  actor_token_file: %s/actor-token\n", folder.c_str());
  for (const std::string& client : arguments.clients)
    std::printf("\nFor the client %s, where servers have mutual_tls: true, too:\n\nnetwork:\n  mutual_tls: true\n"
                "  tls_cert: %s/client-%s.pem\n  tls_key: %s/client-%s-key.pem\n  tls_ca: %s/ca.pem\n",
                client.c_str(), folder.c_str(), client.c_str(), folder.c_str(), client.c_str(), folder.c_str());
}

absl::Status Certs(const Arguments& arguments) {
  for (const std::string& host : arguments.hosts)
    if (const absl::Status status = CheckHost(host); !status.ok())
      return UsageError(absl::StrCat("--host: ", status.message()));
  for (const std::string& client : arguments.clients) FLOWAWR_RETURN_IF_ERROR(CheckClientName(client));
  const bool has_server = Exists(arguments.File("server.pem")) || Exists(arguments.File("server-key.pem"));
  if (has_server && !arguments.renew && !arguments.hosts.empty())
    return absl::AlreadyExistsError(absl::StrCat(arguments.File("server.pem"),
                                                 " is there already; --renew makes it anew for the hosts given"));
  if (arguments.renew && !arguments.tokens && !Exists(arguments.File("ca.pem")))
    return absl::NotFoundError(absl::StrCat(arguments.folder, " holds no ca.pem: there is nothing to renew"));
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(arguments.folder));
  // A renewal that names clients, or tokens, is theirs alone.
  const bool are_others_due = arguments.renew && arguments.hosts.empty() && (arguments.tokens || !arguments.clients.empty());
  const bool is_server_due = are_others_due ? !has_server && !arguments.tokens : !has_server || arguments.renew;
  std::optional<CertificateAuthority> authority;  // its key need not be here when no certificate is made
  if (is_server_due || !arguments.clients.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(authority, FindAuthority(arguments));
  }
  const absl::Duration lifetime = absl::Hours(24 * (arguments.days == 0 ? kDefaultDays : arguments.days));
  if (is_server_due) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> hosts, ServerHosts(arguments));
    FLOWAWR_ASSIGN_OR_RETURN(const KeyAndCertificate pair,
                             authority->Sign({.name = hosts.front(), .hosts = hosts, .lifetime = lifetime}));
    FLOWAWR_RETURN_IF_ERROR(WritePair(arguments, "server", pair));
    std::printf("  for %s\n", absl::StrJoin(hosts, ", ").c_str());
  }
  for (const std::string& client : arguments.clients) {
    const std::string name = "client-" + client;
    if (Exists(arguments.File(name + ".pem")) && !arguments.renew)
      return absl::AlreadyExistsError(absl::StrCat(arguments.File(name + ".pem"), " is there already; --renew --client ",
                                                   ShellQuote(client), " makes it anew"));
    FLOWAWR_ASSIGN_OR_RETURN(const KeyAndCertificate pair, authority->Sign({.name = client, .lifetime = lifetime}));
    FLOWAWR_RETURN_IF_ERROR(WritePair(arguments, name, pair));
  }
  if (arguments.tokens) FLOWAWR_RETURN_IF_ERROR(MakeTokens(arguments));
  PrintNetwork(arguments);
  return absl::OkStatus();
}

}  // namespace

void AddCertsCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("certs", kDescription);
  command->footer(kFooter);
  command->add_option("DIR", arguments->folder, "the folder for them; made if it is not there")->required();
  command->add_option("--host", arguments->hosts, "name or address under which clients reach the server; may be repeated")
      ->type_name("NAME_OR_IP")
      ->allow_extra_args(false);
  command->add_option("--client", arguments->clients, "a client's certificate as well; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command->add_option("--days", arguments->days, "how long certificates are valid; without it 365")
      ->type_name("N")
      ->transform(WholeNumber(1, 3650));
  command->add_flag("--tokens", arguments->tokens, "a token of each role as well");
  command->add_flag("--renew", arguments->renew, "make anew what is there; the authority stays");
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(Certs(*arguments)); });
}

}  // namespace flowawr
