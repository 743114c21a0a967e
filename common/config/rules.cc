#include "common/config/rules.h"

#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/host_port.h"
#include "common/config/algorithm_options.h"
#include "common/config/paths.h"
#include "common/config/schema.h"
#include "common/config/trained_sigmas.h"
#include "common/scoring/reward_spec_check.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

using Violations = std::vector<RuleViolation>;

void FindMissing(const Message& message, const std::string& prefix, Violations& found) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const std::string path = absl::StrCat(prefix, field->name());
    const bool is_section = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (RuleOf(*field).required()) {
      const bool is_empty = field->is_repeated() ? reflection.FieldSize(message, field) == 0
                                                 : reflection.GetString(message, field).empty();
      const std::string& help = RuleOf(*field).help();
      if (is_empty) found.push_back({path, absl::StrCat("is required", help.empty() ? "" : ": ", help)});
    }
    if (field->is_map()) continue;
    if (is_section && field->is_repeated()) {
      for (int element = 0; element < reflection.FieldSize(message, field); ++element)
        FindMissing(reflection.GetRepeatedMessage(message, field, element), absl::StrCat(path, ".", element, "."),
                    found);
    } else if (is_section) {
      FindMissing(reflection.GetMessage(message, field), path + ".", found);
    }
  }
}

// A shell turns ~ into a folder; nobody does where a value comes from a file or follows a `=`.
void CheckPaths(v1::RunConfig config, Violations& found) {
  ForEachPath(config, [&found](const std::string& name, std::string& path) {
    if (path != "~" && path.rfind("~/", 0) != 0) return;
    const char* const home = std::getenv("HOME");
    found.push_back({name, absl::StrCat(path, ": ~ is not expanded here; write ", home == nullptr ? "/home/NAME" : home,
                                        path.substr(1))});
  });
}

// Of methods that choose at which noise levels to train; others train on the steps that were drawn.
void CheckTrainedSigmas(const v1::RunConfig& config, Violations& found) {
  const int trainable = TrainedSigmas(config);
  if (trainable < 1) {
    found.push_back({"train.timestep_fraction", absl::StrCat("leaves none of the ", config.sampler().steps(),
                                                             " sampler steps (sampler.steps) to train on")});
  } else if (config.train().timesteps_per_sample() > trainable) {
    found.push_back({"train.timesteps_per_sample",
                     absl::StrCat(config.train().timesteps_per_sample(), " is more than the ", trainable,
                                  " sigmas that may be drawn, int(sampler.steps ", config.sampler().steps(),
                                  " x train.timestep_fraction ", FormatNumber(config.train().timestep_fraction()),
                                  "); lower it, or raise sampler.steps")});
  }
}

void CheckTargetModules(const v1::RunConfig& config, Violations& found) {
  std::set<std::string> modules;
  for (int i = 0; i < config.lora().target_modules_size(); ++i) {
    const std::string& module = config.lora().target_modules(i);
    const std::string path = absl::StrCat("lora.target_modules.", i);
    if (module.empty()) found.push_back({path, "is empty; name a module, e.g. attn.to_q"});
    if (!modules.insert(module).second) found.push_back({path, absl::StrCat(module, " is listed twice; keep one")});
  }
}

// Of flow_grpo.
void CheckNoisySteps(const v1::RunConfig& config, Violations& found) {
  const v1::FlowGrpoConfig& method = config.algorithm().flow_grpo();
  const int steps = config.sampler().steps();
  const auto [count, end] = NoisyStepsOf(config);
  const std::string of_steps = absl::StrCat("the ", steps, " steps (sampler.steps)");
  if (count < 1) {
    found.push_back({"sampler.steps", absl::StrCat(steps, " leaves flow_grpo no step that may draw noise; set at least 2")});
  } else if (end > steps) {
    found.push_back({"algorithm.flow_grpo.window_end", absl::StrCat(end, " is beyond ", of_steps)});
  } else if (count > end) {
    found.push_back({"algorithm.flow_grpo.window",
                     absl::StrCat(count, " steps do not fit before step ", end, method.window_end() > 0
                                      ? " (algorithm.flow_grpo.window_end)"
                                      : ", half of sampler.steps; set algorithm.flow_grpo.window_end, or lower it")});
  } else if (method.sde() == v1::CPS && end == steps) {
    found.push_back({"algorithm.flow_grpo.window_end",
                     absl::StrCat("must be less than ", of_steps, " with sde: cps, whose last step draws no noise")});
  }
  if (method.sde() == v1::CPS && method.noise_level() > 1)
    found.push_back({"algorithm.flow_grpo.noise_level", "is at most 1 with sde: cps"});
}

void CheckAlgorithm(const v1::RunConfig& config, Violations& found) {
  const std::string name = AlgorithmName(config.algorithm());
  if (TraitsOf(config.algorithm()).trains_on_trajectory()) {
    if (config.algorithm().behaviour() > v1::CURRENT)
      found.push_back({"algorithm.behaviour", absl::StrCat(name, " trains on the very steps that its sampler drew, by the "
                                                                 "policy that drew them; leave it out, or set current")});
    CheckNoisySteps(config, found);
    return;
  }
  CheckTrainedSigmas(config, found);
  if (config.sampler().guidance_scale() != 0 && config.sampler().guidance_scale() != 1) {
    found.push_back({"sampler.guidance_scale", absl::StrCat(name, " trains the velocity itself, without guidance, so that "
                                                                  "its samples must be drawn without; set 1, or choose "
                                                                  "flow_grpo")});
  }
}

void CheckEvaluation(const v1::RunConfig& config, Violations& found) {
  if (!config.prompts().heldout().empty()) {
    if (config.prompts().heldout() == config.prompts().train())
      found.push_back({"prompts.heldout", "is the training file; held-out prompts must be others"});
    return;
  }
  const auto needs = [&found](const std::string& path, const std::string& without) {
    found.push_back(
        {path, absl::StrCat("evaluation needs prompts.heldout, which is empty; name a file there, or set ", without)});
  };
  if (config.evaluation().every_updates() > 0) needs("evaluation.every_updates", "evaluation.every_updates: 0");
  if (config.train().target_reward() != 0) needs("train.target_reward", "train.target_reward: 0");
  for (int i = 0; i < config.rewards().terms_size(); ++i)
    if (config.rewards().terms(i).max_drop() != 0)
      needs(absl::StrCat("rewards.terms.", i, ".max_drop"), "max_drop: 0");
}

// They become one argument of the reward server: NAME=KIND,option=value,...
void CheckScorerArgument(const v1::RewardTerm& term, const std::string& path, Violations& found) {
  const auto check_owner = [&](const std::string& field) {
    if (!term.endpoint().empty())
      found.push_back({absl::StrCat(path, field), absl::StrCat("for the reward server that `flowawr run` starts, but "
                                                               "this term's is ", term.endpoint(),
                                                               "; give it to that one, by its --scorer")});
  };
  if (!term.kind().empty()) check_owner(".kind");
  if (term.kind().find_first_of(",=") != std::string::npos)
    found.push_back(
        {absl::StrCat(path, ".kind"), absl::StrCat(term.kind(), " is no kind of scorer: no name holds , or =")});
  if (!term.options().empty()) check_owner(".options");
  const std::map<std::string, std::string> options(term.options().begin(), term.options().end());
  for (const auto& [name, value] : options) {
    if (name.empty() || name.find_first_of(",=") != std::string::npos || value.find(',') != std::string::npos)
      found.push_back({absl::StrCat(path, ".options.", name),
                       "a name must hold something and neither , nor =, a value no ,: the reward server reads "
                       "NAME,option=value,..."});
  }
}

void CheckRewards(const v1::RewardsConfig& rewards, Violations& found) {
  google::protobuf::RepeatedPtrField<v1::RewardSpecTerm> terms;
  for (int i = 0; i < rewards.terms_size(); ++i) {
    *terms.Add() = SpecTermOf(rewards.terms(i));
    CheckScorerArgument(rewards.terms(i), absl::StrCat("rewards.terms.", i), found);
  }
  for (RewardSpecFault& fault : FindRewardSpecFaults(terms, rewards.combination())) {
    std::string path = "rewards.terms";
    if (fault.term >= 0) absl::StrAppend(&path, ".", fault.term);
    if (!fault.field.empty()) absl::StrAppend(&path, ".", fault.field);
    found.push_back({std::move(path), std::move(fault.problem)});
  }
}

// Why `name` is none that DNS would have, and a certificate could carry; empty: it is one.
std::string WhyNoHostName(const std::string& name) {
  constexpr size_t kLongestName = 253, kLongestLabel = 63;
  if (name.find(':') != std::string::npos) return "holds a colon: neither a port nor an address belongs here";
  if (name.find('*') != std::string::npos) return "holds a *: name one host that the certificate's pattern covers";
  if (name.size() > kLongestName) return absl::StrCat("has more than ", kLongestName, " characters");
  const std::vector<std::string> labels = absl::StrSplit(name, '.');
  for (const std::string& label : labels) {
    if (label.empty()) return "has an empty part; write no dot at its ends, and one between parts";
    if (label.size() > kLongestLabel) return absl::StrCat("has a part of more than ", kLongestLabel, " characters");
    if (label.front() == '-' || label.back() == '-') return "has a part that begins or ends with -";
    for (const char c : label)
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-')
        return "holds other characters than letters, digits, - and dots";
  }
  if (labels.back().find_first_not_of("0123456789") == std::string::npos)
    return "is an address; leave it out where certificates name the actors' addresses";
  return "";
}

void CheckPeerTlsName(const v1::NetworkConfig& network, Violations& found) {
  const std::string& name = network.peer_tls_name();
  if (name.empty()) return;
  if (const std::string why = WhyNoHostName(name); !why.empty())
    found.push_back({"network.peer_tls_name", absl::StrCat(name, " ", why)});
  if (network.tls_ca().empty())
    found.push_back({"network.peer_tls_name",
                     "is of no use without TLS: set network.tls_ca, network.tls_cert and network.tls_key, or leave it "
                     "out"});
}

void CheckNetwork(const v1::NetworkConfig& network, Violations& found) {
  const bool has_tls = !network.tls_cert().empty();
  const auto check_address = [&](const std::string& path, const std::string& text, bool is_encrypted,
                                 absl::string_view tls_fields) {
    const auto address = ParseHostPort(text);
    if (!address.ok()) {
      found.push_back({path, std::string(address.status().message())});
    } else if (!address->is_loopback() && !network.insecure() && !is_encrypted) {
      found.push_back({path, absl::StrCat(address->host, " is reached from outside this machine, unencrypted; set ", tls_fields,
                                          ", or network.insecure: true on a network that you trust")});
    }
  };
  constexpr char kTlsFields[] = "network.tls_cert and network.tls_key";
  check_address("network.learner_listen", network.learner_listen(), has_tls, kTlsFields);
  check_address("network.reward_listen", network.reward_listen(), has_tls, kTlsFields);
  check_address("network.metrics_host", HostPort{network.metrics_host(), 0}.ToString(),
                has_tls && network.metrics_tls(), "network.metrics_tls");
  if (network.tls_key().empty() == has_tls)
    found.push_back({has_tls ? "network.tls_cert" : "network.tls_key",
                     "network.tls_cert and network.tls_key go together; set both or none"});
  if (has_tls && network.tls_ca().empty())
    found.push_back({"network.tls_cert",
                     "clients need network.tls_ca to trust it; set it (for a self-signed "
                     "certificate, to the certificate itself)"});
  if (network.mutual_tls() && !has_tls)
    found.push_back({"network.mutual_tls", "needs network.tls_cert and network.tls_key: what this side shows"});
  if (network.metrics_tls() && !has_tls)
    found.push_back({"network.metrics_tls", "needs network.tls_cert and network.tls_key"});
  CheckPeerTlsName(network, found);
}

// Ranks cannot encrypt what they say to each other.
void CheckRanks(const v1::RunConfig& config, Violations& found) {
  const auto address = ParseHostPort(config.network().ranks_listen());
  if (!address.ok()) {
    found.push_back({"network.ranks_listen", std::string(address.status().message())});
  } else if (config.train().ranks() > 1 && !address->is_loopback() && !config.network().insecure()) {
    found.push_back({"network.ranks_listen",
                     absl::StrCat(address->host, " is reached from outside this machine, and ranks cannot encrypt what they ",
                                  "say; set network.insecure: true on a network that you trust")});
  }
}

}  // namespace

std::vector<RuleViolation> FindRuleViolations(const v1::RunConfig& config) {
  Violations found;
  FindMissing(config, "", found);
  if (!found.empty()) return found;
  CheckPaths(config, found);
  CheckTargetModules(config, found);
  CheckAlgorithm(config, found);
  CheckEvaluation(config, found);
  CheckRewards(config.rewards(), found);
  CheckNetwork(config.network(), found);
  CheckRanks(config, found);
  return found;
}

std::vector<RuleViolation> FindNoisyStepViolations(const v1::RunConfig& config) {
  Violations found;
  CheckNoisySteps(config, found);
  return found;
}

std::vector<RuleViolation> FindNetworkViolations(const v1::NetworkConfig& network) {
  Violations found;
  CheckNetwork(network, found);
  return found;
}

}  // namespace flowawr
