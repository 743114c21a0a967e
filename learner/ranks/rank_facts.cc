#include "learner/ranks/rank_facts.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr size_t kMostNameBytes = 1024;
constexpr size_t kMostDevices = 256;

// They are shown to people, whoever sent them, and a session is part of the keys of rank 0's store.
bool IsName(const std::string& text) {
  return text.size() <= kMostNameBytes &&
         std::none_of(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); });
}
bool AreNames(const RankFacts& facts) {
  for (const std::string* name :
       {&facts.session, &facts.host, &facts.rank0_host, &facts.nccl_device, &facts.no_nccl, &facts.version,
        &facts.instruction_set})
    if (!IsName(*name)) return false;
  for (const std::string& device : facts.devices)
    if (!IsName(device)) return false;
  return facts.devices.size() <= kMostDevices;
}

}  // namespace

v1::RunConfig GradientConfig(const v1::RunConfig& config) {
  v1::RunConfig decides;
  decides.set_seed(config.seed());
  *decides.mutable_model() = config.model();
  decides.mutable_model()->clear_path();
  decides.mutable_model()->clear_embeds_cache();
  *decides.mutable_lora() = config.lora();
  decides.mutable_lora()->clear_init_from();
  *decides.mutable_sampler() = config.sampler();
  *decides.mutable_algorithm() = config.algorithm();
  decides.mutable_train()->set_micro_batch(config.train().micro_batch());
  decides.mutable_train()->set_timesteps_per_sample(config.train().timesteps_per_sample());
  decides.mutable_train()->set_timestep_fraction(config.train().timestep_fraction());
  decides.mutable_train()->set_ranks(config.train().ranks());
  return decides;
}

std::string SerializeFacts(const RankFacts& facts) {
  return nlohmann::json{{"rank", facts.rank},
                        {"session", facts.session},
                        {"host", facts.host},
                        {"rank0_host", facts.rank0_host},
                        {"devices", facts.devices},
                        {"nccl_device", facts.nccl_device},
                        {"no_nccl", facts.no_nccl},
                        {"version", facts.version},
                        {"instruction_set", facts.instruction_set},
                        {"config", absl::Base64Escape(facts.config.SerializeAsString())},
                        {"model", facts.model}}
      .dump();
}

absl::StatusOr<RankFacts> ParseFacts(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    RankFacts facts{.rank = json.at("rank"),
                    .session = json.at("session"),
                    .host = json.at("host"),
                    .rank0_host = json.at("rank0_host"),
                    .devices = json.at("devices"),
                    .nccl_device = json.at("nccl_device"),
                    .no_nccl = json.at("no_nccl"),
                    .version = json.at("version"),
                    .instruction_set = json.at("instruction_set"),
                    .model = json.at("model")};
    std::string config;
    if (AreNames(facts) && absl::Base64Unescape(json.at("config").get<std::string>(), &config) &&
        facts.config.ParseFromString(config))
      return facts;
  } catch (const nlohmann::json::exception&) {
  }
  return absl::InvalidArgumentError("what joined is no rank of this version");
}

absl::Status CheckFacts(const RankFacts& rank0, const RankFacts& theirs) {
  std::string differences;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&differences);
  differencer.Compare(rank0.config, theirs.config);
  const auto compare = [&](const std::string& what, const std::string& ours, const std::string& other) {
    if (ours != other) absl::StrAppend(&differences, what, ": ", ours, " -> ", other, "\n");
  };
  compare("software version", rank0.version, theirs.version);
  compare("instruction set (FLOWAWR_CPU sets it)", rank0.instruction_set, theirs.instruction_set);
  for (const auto& [part, fingerprint] : rank0.model)
    if (const auto other = theirs.model.find(part); other != theirs.model.end())
      compare(absl::StrCat("model, ", part), fingerprint, other->second);
  if (!differences.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", theirs.rank, " is not like rank 0, so that its gradients would not be (rank 0 -> rank ",
                     theirs.rank, "):\n", differences, "Start it with rank 0's configuration, model and release"));
  const int ranks = rank0.config.train().ranks();
  if (theirs.rank < 1 || theirs.rank >= ranks)
    return absl::InvalidArgumentError(absl::StrCat("rank ", theirs.rank, " is none of this run, which has ", ranks,
                                                   " (train.ranks, --world): 0 to ", ranks - 1));
  return absl::OkStatus();
}

}  // namespace flowawr
