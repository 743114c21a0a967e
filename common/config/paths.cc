#include "common/config/paths.h"

#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace fs = std::filesystem;

bool IsScorerPath(const std::string& kind, const std::string& option) {
  static const auto& paths = *new std::set<std::string>{"api_key_file", "body_file",   "clip", "detector",
                                                        "head",         "prompt_file", "tessdata"};
  return paths.contains(option) || (option == "model" && kind != "judge");  // whose model has a name
}

void ForEachScorerPath(v1::RewardsConfig& rewards, PathVisitor visit) {
  for (int i = 0; i < rewards.terms_size(); ++i) {
    v1::RewardTerm& term = *rewards.mutable_terms(i);
    const std::string& kind = term.kind().empty() ? term.scorer() : term.kind();
    for (auto& [option, value] : *term.mutable_options())
      if (IsScorerPath(kind, option)) visit(absl::StrCat("rewards.terms.", i, ".options.", option), value);
  }
}

void ForEachPath(v1::RunConfig& config, PathVisitor visit) {
  visit("run_dir", *config.mutable_run_dir());
  visit("model.path", *config.mutable_model()->mutable_path());
  visit("model.embeds_cache", *config.mutable_model()->mutable_embeds_cache());
  visit("lora.init_from", *config.mutable_lora()->mutable_init_from());
  visit("checkpoint.copy_to", *config.mutable_checkpoint()->mutable_copy_to());
  visit("prompts.train", *config.mutable_prompts()->mutable_train());
  visit("prompts.heldout", *config.mutable_prompts()->mutable_heldout());
  ForEachScorerPath(*config.mutable_rewards(), visit);
  v1::NetworkConfig& network = *config.mutable_network();
  visit("network.tls_cert", *network.mutable_tls_cert());
  visit("network.tls_key", *network.mutable_tls_key());
  visit("network.tls_ca", *network.mutable_tls_ca());
  visit("network.token_file", *network.mutable_token_file());
  visit("network.actor_token_file", *network.mutable_actor_token_file());
  visit("network.reward_token_file", *network.mutable_reward_token_file());
  visit("network.operator_token_file", *network.mutable_operator_token_file());
  visit("network.read_only_token_file", *network.mutable_read_only_token_file());
}

void MakePathsAbsolute(v1::RunConfig* config) {
  ForEachPath(*config, [](const std::string&, std::string& path) {
    std::error_code error;
    if (path.empty()) return;
    const fs::path whole = fs::absolute(path, error);
    if (!error) path = whole.lexically_normal().string();
  });
}

std::string RunFolderOf(const std::string& path) {
  const fs::path file(path);
  if (file.filename() != kRunConfigFile && file.filename() != kStartingConfigFile) return "";
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code ignored;
  const bool is_run = fs::exists(folder / "lock", ignored) || fs::exists(folder / "checkpoints", ignored);
  return is_run ? folder.string() : "";
}

std::vector<std::string> NamesTakenByOthers(const std::string& folder) {
  std::error_code ignored;
  if (fs::exists(fs::path(folder) / "lock", ignored)) return {};
  std::vector<std::string> taken;
  for (const char* file : {kRunConfigFile, "report.html", "summary.json"})
    if (fs::exists(fs::path(folder) / file, ignored)) taken.emplace_back(file);
  for (const char* inner : {"images", "export"}) {
    const bool is_empty = fs::is_empty(fs::path(folder) / inner, ignored);
    if (!ignored && !is_empty) taken.push_back(std::string(inner) + "/");
  }
  return taken;
}

}  // namespace flowawr
