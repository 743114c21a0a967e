// Every method in a few configurations whose options are no defaults, so that a fault in any shows.
#pragma once

#include <google/protobuf/util/json_util.h>

#include <functional>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

inline v1::RunConfig MethodConfig(const std::function<void(v1::AlgorithmConfig&)>& choose) {
  v1::RunConfig config;
  config.set_seed(3);
  config.mutable_sampler()->set_steps(4);
  config.mutable_rewards()->set_combination(v1::AVERAGE);
  config.mutable_train()->set_timestep_fraction(0.99);
  config.mutable_train()->set_timesteps_per_sample(2);
  config.mutable_algorithm()->set_advantage_clip(1.5);  // cuts some of the tests' advantages
  config.mutable_algorithm()->set_std_scope(v1::BATCH);
  config.mutable_algorithm()->set_behaviour(v1::CURRENT);
  choose(*config.mutable_algorithm());
  return config;
}

inline v1::FlowAwrConfig& ChooseFlowAwr(v1::AlgorithmConfig& algorithm, v1::EnergyKind energy = v1::SOFT) {
  v1::FlowAwrConfig& method = *algorithm.mutable_flow_awr();
  method.set_energy(energy);
  method.set_temperature(0.7);
  method.set_energy_clip(3);
  method.set_kl_beta(0.3);
  return method;
}

inline v1::FlowGrpoConfig& ChooseFlowGrpo(v1::AlgorithmConfig& algorithm, v1::SdeKind sde = v1::FLOW_SDE) {
  v1::FlowGrpoConfig& method = *algorithm.mutable_flow_grpo();
  method.set_sde(sde);
  method.set_noise_level(0.7);
  method.set_clip_range(1e-3);
  method.set_kl_beta(0.3);
  method.set_max_log_prob_drift(0.01);
  return method;
}

inline std::map<std::string, v1::RunConfig> Methods() {
  std::map<std::string, v1::RunConfig> methods;
  methods["flow_awr_soft"] = MethodConfig([](v1::AlgorithmConfig& a) { ChooseFlowAwr(a); });
  methods["flow_awr_hard"] = MethodConfig([](v1::AlgorithmConfig& a) {
    ChooseFlowAwr(a, v1::HARD);
    a.set_std_scope(v1::GROUP);
  });
  for (const double beta : {1.0, 0.1})
    methods[absl::StrCat("diffusion_nft_", beta)] = MethodConfig([&](v1::AlgorithmConfig& a) {
      a.mutable_diffusion_nft()->set_beta(beta);
      a.mutable_diffusion_nft()->set_kl_beta(0.3);
    });
  for (const auto sde : {v1::FLOW_SDE, v1::CPS})
    methods[absl::StrCat("flow_grpo_", sde)] = MethodConfig([&](v1::AlgorithmConfig& a) { ChooseFlowGrpo(a, sde); });
  for (const auto weighting : {v1::EVEN, v1::SIGMA, v1::SIGMA_SQUARED, v1::HUBER, v1::GHUBER})
    methods[absl::StrCat("awm_", weighting)] = MethodConfig([&](v1::AlgorithmConfig& a) {
      v1::AwmConfig& method = *a.mutable_awm();
      method.set_weighting(weighting);
      method.set_ghuber_power(0.3);
      method.set_advantage_max(0.8);
      method.set_clip_range(0.1);
      method.set_kl_beta(0.3);
      method.set_old_beta(0.2);
    });
  methods["rwr"] = MethodConfig([](v1::AlgorithmConfig& a) {
    a.mutable_rwr()->set_temperature(0.7);
    a.mutable_rwr()->set_kl_beta(0.3);
  });
  return methods;
}

// As algorithm_reference.py reads it. `more` is written into the object, e.g. "\"guidance\": 4,".
inline std::string MethodJson(const v1::AlgorithmConfig& algorithm, const std::string& more = "") {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(algorithm, &json, options).ok()) return "";
  return absl::StrCat("{", more, json.substr(1));
}

inline std::string MethodsJson(const std::map<std::string, v1::RunConfig>& methods) {
  return absl::StrCat("{", absl::StrJoin(methods, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, "\"", entry.first, "\": ", MethodJson(entry.second.algorithm()));
  }), "}");
}

}  // namespace flowawr
