#include "common/config/run_config.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/config/paths.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// The least that a run needs.
constexpr char kLeast[] = R"(run_dir: runs/x
model:
  path: models/x
prompts:
  train: train.txt
  heldout: heldout.txt
rewards:
  terms:
    - scorer: ocr
)";

v1::RunConfig Parse(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  absl::StatusOr<v1::RunConfig> config = ParseRunConfig(yaml, "run.yaml", overrides);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(v1::RunConfig());
}

std::string Error(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  const absl::Status status = ParseRunConfig(yaml, "run.yaml", overrides).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

std::string ErrorOf(const std::string& section) { return Error(absl::StrCat(kLeast, section)); }
std::string ErrorOfSet(const std::string& assignment) { return Error(kLeast, {assignment}); }

TEST(RunConfig, FillsInDefaultsAlsoWithinLists) {
  const v1::RunConfig config = Parse(kLeast);
  EXPECT_EQ(config.rollout().samples_per_group(), 24);
  EXPECT_EQ(config.optimizer().epsilon(), 1e-8);
  EXPECT_EQ(config.algorithm().behaviour(), v1::RAMP);
  EXPECT_EQ(config.lora().target_modules_size(), 8);
  EXPECT_EQ(config.rewards().terms(0).weight(), 1);
  EXPECT_TRUE(config.rewards().terms(0).is_required());
}

TEST(RunConfig, ReadsEveryKindOfValue) {
  const v1::RunConfig config = Parse(absl::StrCat(kLeast, R"(seed: 18446744073709551615
lora: {target_modules: [attn.to_q, attn.to_v], alpha: 1e1}
algorithm: {flow_awr: {energy: Hard}}
network: {insecure: true}
)"));
  EXPECT_EQ(config.seed(), 18446744073709551615u);
  EXPECT_EQ(config.lora().target_modules_size(), 2);
  EXPECT_EQ(config.lora().alpha(), 10);
  EXPECT_EQ(config.algorithm().flow_awr().energy(), v1::HARD);
  EXPECT_TRUE(config.network().insecure());
}

TEST(RunConfig, NamesAnUnknownFieldAndTheOneThatWasMeant) {
  EXPECT_THAT(ErrorOf("optimizer:\n  learning_rte: 1\n"),
              HasSubstr("run.yaml:11:3: optimizer.learning_rte: unknown field; did you mean \"learning_rate\"?"));
  EXPECT_THAT(ErrorOf("learning_rate: 1\n"), HasSubstr("did you mean \"optimizer.learning_rate\"?"));
  EXPECT_THAT(ErrorOf("lora:\n  colour: 1\n"), HasSubstr("(accepted here: rank, alpha, target_modules, init_from)"));
}

TEST(RunConfig, NamesAWrongType) {
  EXPECT_THAT(ErrorOf("seed: -1\n"), HasSubstr("run.yaml:10:1: seed: \"-1\" is not a whole number, not negative"));
  EXPECT_THAT(ErrorOf("lora: {rank: high}\n"), HasSubstr("lora.rank: \"high\" is not a whole number from 1 to 1024"));
  EXPECT_THAT(ErrorOf("lora: {rank: 1.5}\n"), HasSubstr("lora.rank: \"1.5\" is not a whole number"));
  EXPECT_THAT(ErrorOf("lora: {rank: [1]}\n"),
              HasSubstr("lora.rank: expected a whole number from 1 to 1024, found a list"));
  EXPECT_THAT(ErrorOf("lora: 3\n"), HasSubstr("lora: expected a section (`name: value` lines) of rank, alpha"));
  EXPECT_THAT(ErrorOf("lora: {target_modules: attn}\n"),
              HasSubstr("lora.target_modules: expected a list of text; write [attn]"));
  EXPECT_THAT(ErrorOf("lora: {alpha: .nan}\n"), HasSubstr("lora.alpha: \".nan\" is not a number"));
  EXPECT_THAT(ErrorOf("network: {insecure: maybe}\n"), HasSubstr("\"maybe\" is not true or false"));
  EXPECT_THAT(ErrorOf("seed:\n"), HasSubstr("seed: has no value"));
  EXPECT_THAT(ErrorOf("algorithm: {energy: herd}\n"), HasSubstr("accepted: soft or hard; did you mean \"hard\"?"));
  EXPECT_THAT(ErrorOf("algorithm: {energy: energy_kind_unspecified}\n"), HasSubstr("accepted: soft or hard"));
}

TEST(RunConfig, NamesAValueOutOfRange) {
  EXPECT_THAT(
      ErrorOf("rollout:\n  samples_per_group: 1\n"),
      HasSubstr("run.yaml:11:3: rollout.samples_per_group: 1 is out of range; accepted: a whole number from 2 to "
                "1024"));
  EXPECT_THAT(ErrorOf("lora: {rank: 99999999999}\n"), HasSubstr("lora.rank: 99999999999 is out of range"));
}

TEST(RunConfig, NamesWhatIsMissing) {
  const std::string error = Error("model:\n  dtype: float32\nrewards:\n  terms:\n    - weight: 2\n");
  EXPECT_THAT(error, HasSubstr("run.yaml: run_dir: is required"));
  EXPECT_THAT(error, HasSubstr("run.yaml:1:1: model.path: is required: a diffusers folder"));
  EXPECT_THAT(error, HasSubstr("run.yaml:5:7: rewards.terms.0.scorer: is required"));
  EXPECT_THAT(Error(""), HasSubstr("rewards.terms: is required"));
}

TEST(RunConfig, RefusesAFieldWrittenTwice) {
  EXPECT_THAT(ErrorOf("run_dir: other\n"),
              HasSubstr("run.yaml:10:1: run_dir: written twice (first at run.yaml:1:1); keep one"));
}

TEST(RunConfig, NamesTheLineThatIsNotYaml) {
  EXPECT_THAT(Error("model:\n  path: [unclosed\n"), ::testing::ContainsRegex("run.yaml:[0-9]+:[0-9]+: not YAML: "));
  EXPECT_THAT(Error("model: {}\nname: caf\xE9\n"), HasSubstr("run.yaml:2: not UTF-8"));
  EXPECT_THAT(Error(absl::StrCat(kLeast, "---\n", kLeast)), HasSubstr("several YAML documents"));
  EXPECT_THAT(Error("- a\n- b\n"), HasSubstr("expected a section"));
}

TEST(RunConfig, SurvivesDeepNestingAndSelfReference) {
  Error(std::string(100'000, '['));
  Error("model: &m\n  path: *m\n");
  Error("lora: {target_modules: &t [*t]}\n");
}

TEST(RunConfig, ReportsAllErrorsOfAFileAtOnce) {
  const std::string error = ErrorOf("lora: {rank: 0, alpha: x}\n");
  EXPECT_THAT(error, HasSubstr("lora.rank"));
  EXPECT_THAT(error, HasSubstr("\nrun.yaml:10:17: lora.alpha"));
}

TEST(RunConfig, AppliesOverridesInOrder) {
  const v1::RunConfig config =
      Parse(kLeast, {"train.updates=5", "train.updates=7", "rewards.terms.0.weight=2", "rewards.terms.1.scorer=jpeg",
                     "lora.target_modules=[attn.to_q, attn.to_k]", "lora.target_modules.1=attn.to_v",
                     "lora.target_modules.2=attn.to_k", "name=a: b = [c", "algorithm.energy=hard"});
  EXPECT_EQ(config.train().updates(), 7);
  EXPECT_EQ(config.rewards().terms(0).weight(), 2);
  EXPECT_EQ(config.rewards().terms(1).scorer(), "jpeg");
  EXPECT_EQ(config.rewards().terms(1).timeout_s(), 60);
  EXPECT_THAT(config.lora().target_modules(), ::testing::ElementsAre("attn.to_q", "attn.to_v", "attn.to_k"));
  EXPECT_EQ(config.name(), "a: b = [c");
  EXPECT_EQ(config.algorithm().flow_awr().energy(), v1::HARD);
}

TEST(RunConfig, ExplainsABadOverride) {
  EXPECT_THAT(ErrorOfSet("train.updates"), HasSubstr("write PATH=VALUE"));
  EXPECT_THAT(ErrorOfSet("train.update=5"),
              HasSubstr("--set train.update=5: train.update: unknown field; did you mean \"updates\"?"));
  EXPECT_THAT(ErrorOfSet("model.pth=x"),
              HasSubstr("--set model.pth=x: model.pth: unknown field; did you mean \"path\"?"));
  EXPECT_THAT(ErrorOfSet("train.updates=0"), HasSubstr("--set train.updates=0: train.updates: 0 is out of range"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.2.weight=1"), HasSubstr("rewards.terms.2: the list has 1 elements"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.x.weight=1"), HasSubstr("counted from 0"));
  EXPECT_THAT(ErrorOfSet("seed.value=1"), HasSubstr("seed: is no section"));
  EXPECT_THAT(ErrorOfSet("lora.rank=[1"), HasSubstr("lora.rank: the value is not YAML"));
  EXPECT_THAT(ErrorOfSet("=1"), HasSubstr("unknown field"));
}

TEST(RunConfig, RefusesMoreSigmasASampleThanMayBeDrawn) {
  const std::string error = ErrorOf("sampler: {steps: 8}\ntrain:\n  timesteps_per_sample: 8\n");
  EXPECT_THAT(error, HasSubstr("run.yaml:12:3: train.timesteps_per_sample: 8 is more than the 7 sigmas"));
  Parse(absl::StrCat(kLeast, "sampler: {steps: 8}\ntrain: {timesteps_per_sample: 7}\n"));
  EXPECT_THAT(ErrorOf("sampler: {steps: 1}\n"), HasSubstr("leaves none of the 1 sampler steps"));
}

TEST(RunConfig, WantsHeldOutPromptsForEvaluation) {
  const std::string yaml = "run_dir: x\nmodel: {path: x}\nprompts: {train: t}\nrewards: {terms: [{scorer: ocr}]}\n";
  EXPECT_THAT(Error(yaml), HasSubstr("evaluation.every_updates: evaluation needs prompts.heldout"));
  EXPECT_THAT(Error(yaml, {"evaluation.every_updates=0", "train.target_reward=0.9"}), HasSubstr("train.target_reward"));
  Parse(yaml, {"evaluation.every_updates=0"});
  EXPECT_THAT(ErrorOfSet("prompts.heldout=train.txt"), HasSubstr("is the training file"));
}

TEST(RunConfig, RefusesRewardsThatCannotBeCombined) {
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.weight=0"), HasSubstr("every weight is 0"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.1.scorer=ocr"), HasSubstr("rewards.terms.1: scorer ocr is term 0 already"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.endpoint=here"), HasSubstr("\"here\" is not an address"));
  EXPECT_THAT(Error(kLeast, {"rewards.combination=decoupled", "rewards.terms.0.weight=-1"}),
              HasSubstr("must not be negative"));
  Parse(kLeast, {"rewards.terms.0.weight=-1"});
}

// The rules themselves are in tests/common/scoring/reward_spec_check_test.cc.
TEST(RunConfig, NamesTheRewardTermAndItsFieldInTheFile) {
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.endpoint=127.0.0.1:7000,here"),
              HasSubstr("rewards.terms.0.endpoint: \"here\""));
  EXPECT_THAT(Error(kLeast, {"rewards.terms.1={scorer: ocr, endpoint: 127.0.0.1:7000}"}),
              HasSubstr("rewards.terms.1: scorer ocr is term 0 already"));
  Parse(kLeast,
        {"rewards.terms.0.endpoint=127.0.0.1:7000,127.0.0.1:7001", "rewards.terms.1={scorer: size, weight: 0}"});
}

TEST(RunConfig, RefusesToListenOutsideUnencrypted) {
  EXPECT_THAT(ErrorOfSet("network.learner_listen=0.0.0.0:50051"), HasSubstr("network.insecure: true"));
  EXPECT_THAT(ErrorOfSet("network.metrics_host=0.0.0.0"), HasSubstr("network.metrics_host"));
  EXPECT_THAT(ErrorOfSet("network.reward_listen=nowhere"), HasSubstr("is not an address"));
  EXPECT_THAT(ErrorOfSet("network.tls_key=k.pem"), HasSubstr("go together"));
  EXPECT_THAT(Error(kLeast, {"network.tls_cert=c.pem", "network.tls_key=k.pem"}), HasSubstr("network.tls_ca"));
  Parse(kLeast, {"network.learner_listen=0.0.0.0:50051", "network.tls_cert=c.pem", "network.tls_key=k.pem",
                 "network.tls_ca=c.pem"});
  Parse(kLeast, {"network.learner_listen=0.0.0.0:50051", "network.insecure=true"});
}

TEST(RunConfig, TakesANameOfPeersCertificatesWithTlsAndNothingElseForOne) {
  const auto with = [](const std::string& name) {
    return std::vector<std::string>{"network.tls_cert=c.pem", "network.tls_key=k.pem", "network.tls_ca=c.pem",
                                    "network.peer_tls_name=" + name};
  };
  for (const char* name : {"actors.flowawr", "demo-flowawr-actor", "7.actors.example", "A1"})
    EXPECT_EQ(Parse(kLeast, with(name)).network().peer_tls_name(), name);
  const struct {
    std::string name;
    const char* why;
  } cases[] = {{"actors.flowawr:7100", "neither a port"}, {"'::1'", "nor an address"},
               {"10.0.0.7", "is an address"},            {"'*.flowawr'", "name one host"},
               {"actors..flowawr", "an empty part"},     {"actors.", "an empty part"},
               {"-actors", "begins or ends with -"},     {"our_actors", "letters, digits, - and dots"},
               {"an actor", "letters, digits"},          {std::string(64, 'a'), "more than 63"}};
  for (const auto& each : cases)
    EXPECT_THAT(Error(kLeast, with(each.name)), AllOf(HasSubstr("network.peer_tls_name"), HasSubstr(each.why)))
        << each.name;
  const std::string long_name = absl::StrReplaceAll(std::string(130, 'a'), {{"a", "a."}}) + "a";
  EXPECT_THAT(Error(kLeast, with(long_name)), HasSubstr("more than 253"));
  EXPECT_THAT(ErrorOfSet("network.peer_tls_name=actors.flowawr"),
              AllOf(HasSubstr("of no use without TLS"), HasSubstr("network.tls_ca")));
}

TEST(RunConfig, RefusesToLetRanksMeetOutsideUnlessTold) {
  const std::string outside = "network.ranks_listen=10.0.0.1:29400";
  EXPECT_THAT(Error(kLeast, {outside, "train.ranks=2"}),
              AllOf(HasSubstr("network.ranks_listen"), HasSubstr("network.insecure: true")));
  EXPECT_THAT(ErrorOfSet("network.ranks_listen=nowhere"), HasSubstr("is not an address"));
  Parse(kLeast, {outside, "train.ranks=2", "network.insecure=true"});
  Parse(kLeast, {outside});  // nobody listens there
}

TEST(NetworkConfig, IsReadFromAFileWithNothingElse) {
  const TempFolder folder;
  const auto network = LoadNetworkConfig(folder.Write("n.yaml", "network: {tls_ca: ca.pem, token_file: token}\n"));
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ(network->tls_ca(), "ca.pem");
  EXPECT_EQ(network->token_file(), "token");
  EXPECT_EQ(network->max_message_mib(), 64);
  const auto of_run = LoadNetworkConfig(folder.Write("run.yaml", absl::StrCat(kLeast, "network: {insecure: true}\n")));
  ASSERT_TRUE(of_run.ok()) << of_run.status();
  EXPECT_TRUE(of_run->insecure());
}

TEST(NetworkConfig, NamesAMistakeAndAFileThatIsMissing) {
  const TempFolder folder;
  const auto error = [&](const char* text) {
    return std::string(LoadNetworkConfig(folder.Write("n.yaml", text)).status().message());
  };
  EXPECT_THAT(error("network: {tls: ca.pem}\n"), HasSubstr("tls_ca"));
  EXPECT_THAT(error("network: {learner_listen: '0.0.0.0:1'}\n"), HasSubstr("network.insecure: true"));
  const absl::Status missing = LoadNetworkConfig("no/such.yaml").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("no/such.yaml"));
}

TEST(NetworkConfig, HasTheDefaultsWithoutAFile) {
  const auto network = LoadNetworkConfig("");
  ASSERT_TRUE(network.ok()) << network.status();
  EXPECT_EQ(network->learner_listen(), "127.0.0.1:0");
  EXPECT_EQ(network->max_message_mib(), 64);
}

TEST(RunConfig, WritesYamlThatReadsBackTheSame) {
  const v1::RunConfig config =
      Parse(kLeast, {"name=\"quoted\": #null\ttab", "optimizer.learning_rate=0.00012345678901234567",
                     "seed=18446744073709551615", "rewards.terms.0.weight=-0.1", "rewards.terms.0.is_required=false",
                     "rewards.terms.1.scorer=~", "rewards.terms.1.options.b=1", "rewards.terms.1.options.a=\" x: y",
                     "run_dir=caf\xC3\xA9", "network.tls_ca= null", "algorithm.behaviour=late"});
  const auto yaml = RunConfigToYaml(config);
  ASSERT_TRUE(yaml.ok()) << yaml.status();
  EXPECT_TRUE(MessageDifferencer::Equals(Parse(*yaml), config)) << *yaml;
}

TEST(RunConfig, ReadsTheOptionsOfAScorerAsText) {
  v1::RunConfig config = Parse(kLeast, {"rewards.terms.0={scorer: ocr, options: {layout: sparse, margin: 4}}"});
  EXPECT_THAT(config.rewards().terms(0).options(), UnorderedElementsAre(Pair("layout", "sparse"), Pair("margin", "4")));
  config = Parse(kLeast, {"rewards.terms.0.options={layout: word, margin: 4}", "rewards.terms.0.options.margin=8",
                          "rewards.terms.0.options.letters=AB=C"});
  EXPECT_THAT(config.rewards().terms(0).options(),
              UnorderedElementsAre(Pair("layout", "word"), Pair("margin", "8"), Pair("letters", "AB=C")));
}

TEST(RunConfig, RefusesOptionsThatNoScorerWouldGet) {
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.options=sparse"),
              HasSubstr("rewards.terms.0.options: expected a section of names and values"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.options={layout: [line]}"), HasSubstr("each a single value"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.options={layout: line, layout: word}"), HasSubstr("written twice"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.options.layout.x=line"), HasSubstr("is no section"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.options.letters=A,B"),
              HasSubstr("rewards.terms.0.options.letters: a name must hold something"));
  EXPECT_THAT(Error(kLeast, {"rewards.terms.0.options.layout=line", "rewards.terms.0.endpoint=127.0.0.1:7000"}),
              HasSubstr("but this term's is 127.0.0.1:7000"));
  EXPECT_THAT(Error(kLeast, {"rewards.terms.0.kind=ocr", "rewards.terms.0.endpoint=127.0.0.1:7000"}),
              HasSubstr("rewards.terms.0.kind: for the reward server that `flowawr run` starts"));
  EXPECT_THAT(ErrorOfSet("rewards.terms.0.kind=ocr,layout=word"), HasSubstr("is no kind of scorer"));
}

TEST(RunConfig, WritesNoYamlThatNobodyCouldRead) {
  v1::RunConfig config = Parse(kLeast);
  config.mutable_algorithm()->clear_std_scope();
  EXPECT_EQ(RunConfigToYaml(config).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(RunConfig, ValidatesAMessageThatCameWithoutAFile) {
  v1::RunConfig config = Parse(kLeast);
  EXPECT_TRUE(ValidateRunConfig(config).ok());
  config.clear_run_dir();
  EXPECT_THAT(std::string(ValidateRunConfig(config).message()), HasSubstr("run_dir: is required"));
}

TEST(RunConfig, LoadsTheConfigurationsThatTheProjectShips) {
  const auto tiny = LoadRunConfig("configs/tiny-ocr.yaml");
  ASSERT_TRUE(tiny.ok()) << tiny.status();
  EXPECT_EQ(tiny->rollout().samples_per_group(), 16);
  const auto sd35 = LoadRunConfig("configs/sd35-medium-ocr.yaml");
  ASSERT_TRUE(sd35.ok()) << sd35.status();
  EXPECT_EQ(sd35->train().timesteps_per_sample(), 9);
  EXPECT_EQ(LoadRunConfig("configs/none.yaml").status().code(), absl::StatusCode::kNotFound);
  const absl::Status folder = LoadRunConfig("configs").status();
  EXPECT_EQ(folder.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(folder.message()), HasSubstr("configs is a folder that holds no run"));
}

TEST(RunConfig, RefusesATildeThatNobodyExpands) {
  EXPECT_THAT(ErrorOfSet("model.path=~/sd35"), HasSubstr("model.path: ~/sd35: ~ is not expanded here; write "));
}

TEST(LoadRunConfig, TakesARunsConfigurationForTheFolderThatItLiesIn) {
  const TempFolder folder;
  const auto config = ParseRunConfig("run_dir: runs/a\nmodel: {path: m}\nprompts: {train: p}\n"
                                     "evaluation: {every_updates: 0}\nrewards: {terms: [{scorer: ocr}]}\n", "x.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  const std::string file = folder.Write("config.yaml", RunConfigToYaml(*config).value());
  EXPECT_EQ(LoadRunConfig(file)->run_dir(), "runs/a") << "no run lies there";
  folder.Write("lock", "");
  EXPECT_EQ(LoadRunConfig(file)->run_dir(), folder.path());
  EXPECT_EQ(LoadRunConfig(folder.path())->run_dir(), folder.path());
  EXPECT_EQ(LoadRunConfig(file, {"run_dir=elsewhere"})->run_dir(), "elsewhere");
}

TEST(MakePathsAbsolute, LeavesNoRelativePathAndKeepsWhatIsEmpty) {
  v1::RunConfig config;
  config.mutable_model()->set_path("models/../m");
  config.mutable_prompts()->set_train("/p");
  MakePathsAbsolute(&config);
  EXPECT_EQ(config.model().path(), std::filesystem::current_path().string() + "/m");
  EXPECT_EQ(config.prompts().train(), "/p");
  EXPECT_EQ(config.lora().init_from(), "");
  v1::RunConfig again = config;
  MakePathsAbsolute(&again);
  EXPECT_EQ(again.SerializeAsString(), config.SerializeAsString());
}

TEST(MakePathsAbsolute, KnowsWhichOptionsOfScorersArePaths) {
  v1::RunConfig config;
  v1::RewardTerm& finds = *config.mutable_rewards()->add_terms();
  finds.set_scorer("geneval");
  finds.mutable_options()->insert({{"detector", "models/d"}, {"clip", "/c"}, {"reward", "strict"}});
  v1::RewardTerm& judges = *config.mutable_rewards()->add_terms();
  judges.set_scorer("taste");
  judges.set_kind("judge");
  judges.mutable_options()->insert({{"model", "qwen"}, {"prompt_file", "rate.txt"}});
  v1::RewardTerm& fits = *config.mutable_rewards()->add_terms();
  fits.set_scorer("pickscore");
  fits.mutable_options()->insert({"model", "p"});
  MakePathsAbsolute(&config);
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(finds.options().at("detector"), here + "/models/d");
  EXPECT_EQ(finds.options().at("clip"), "/c");
  EXPECT_EQ(finds.options().at("reward"), "strict");
  EXPECT_EQ(judges.options().at("model"), "qwen");
  EXPECT_EQ(judges.options().at("prompt_file"), here + "/rate.txt");
  EXPECT_EQ(fits.options().at("model"), here + "/p");
}

}  // namespace
}  // namespace flowawr
