// The configurations that carry authors' published settings, held to the table in docs/algorithms.md, row by row.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/config/algorithm_options.h"
#include "common/config/run_config.h"
#include "common/config/schema.h"
#include "common/config/trained_sigmas.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using Row = std::vector<std::string>;

std::vector<std::string> Cells(absl::string_view line) {
  std::vector<std::string> cells;
  for (absl::string_view cell : absl::StrSplit(line, '|')) cells.emplace_back(absl::StripAsciiWhitespace(cell));
  return {cells.begin() + 1, cells.end() - 1};
}

// Of the table below the heading "## Published settings", its head and the line under it left out.
std::vector<Row> PublishedRows() {
  const absl::StatusOr<std::string> page = ReadFile("docs/algorithms.md", 1 << 20);
  EXPECT_TRUE(page.ok()) << page.status();
  const std::string text = page.value_or("");
  std::vector<Row> rows;
  for (absl::string_view line : absl::StrSplit(text.substr(text.find("## Published settings")), '\n')) {
    if (!line.empty() && line[0] == '|') rows.push_back(Cells(line));
    else if (!rows.empty()) break;
  }
  rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

std::string Scorers(const v1::RunConfig& config) {
  return absl::StrJoin(config.rewards().terms(), ", ", [](std::string* out, const v1::RewardTerm& term) {
    absl::StrAppend(out, term.scorer(), term.weight() == 1 ? "" : " of another weight");
  });
}

// What is the algorithm's own, by its fields' names.
std::string Options(const v1::AlgorithmConfig& algorithm) {
  if (algorithm.has_flow_awr()) return algorithm.flow_awr().energy() == v1::HARD ? "energy hard" : "energy soft";
  if (algorithm.has_diffusion_nft()) return absl::StrCat("beta ", FormatNumber(algorithm.diffusion_nft().beta()));
  const v1::FlowGrpoConfig& grpo = algorithm.flow_grpo();
  return absl::StrCat(grpo.sde() == v1::CPS ? "cps " : "flow_sde ", FormatNumber(grpo.noise_level()), ", clip ",
                      FormatNumber(grpo.clip_range()),
                      grpo.window() > 0 ? absl::StrCat(", window ", grpo.window()) : "");
}

// As a row of the table says it.
Row Told(const v1::RunConfig& config, const std::string& preset) {
  const v1::AlgorithmConfig& algorithm = config.algorithm();
  const bool has_trajectory = TraitsOf(algorithm).trains_on_trajectory();
  return {absl::StrCat("`", preset, "`"),
          absl::StrCat("`", AlgorithmName(algorithm), "`"),
          Scorers(config),
          absl::StrCat(config.sampler().steps()),
          has_trajectory ? "" : absl::StrCat(SigmasPerSample(config)),
          absl::StrCat(config.rollout().samples_per_group(), " x ", config.rollout().groups_per_batch()),
          absl::StrCat(algorithm.updates_per_batch()),
          EnumValueName(*v1::BehaviourSchedule_descriptor()->FindValueByNumber(algorithm.behaviour())),
          Options(algorithm),
          FormatNumber(KlBeta(algorithm)),
          FormatNumber(config.sampler().guidance_scale())};
}

TEST(PublishedPresets, AreWhatTheTableSays) {
  const std::vector<Row> rows = PublishedRows();
  ASSERT_GE(rows.size(), 14u);
  for (const Row& row : rows) {
    const std::string preset = row[0].substr(1, row[0].size() - 2);
    const auto config = LoadRunConfig(absl::StrCat("configs/", preset, ".yaml"));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(Told(*config, preset), row);
  }
}

TEST(PublishedPresets, ShareWhatTheAuthorsShare) {
  for (const Row& row : PublishedRows()) {
    const std::string preset = row[0].substr(1, row[0].size() - 2);
    SCOPED_TRACE(preset);
    const auto config = LoadRunConfig(absl::StrCat("configs/", preset, ".yaml"));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->model().height(), 512);
    EXPECT_EQ(config->model().max_sequence_length(), 128);
    EXPECT_EQ(config->lora().rank(), 32);
    EXPECT_EQ(config->lora().alpha(), 64);
    EXPECT_EQ(config->lora().target_modules_size(), 8);
    EXPECT_EQ(config->optimizer().learning_rate(), 3e-4);
    EXPECT_EQ(config->optimizer().beta1(), 0.9);
    EXPECT_EQ(config->optimizer().beta2(), 0.999);
    EXPECT_EQ(config->optimizer().epsilon(), 1e-8);
    EXPECT_EQ(config->optimizer().weight_decay(), 1e-4);
    EXPECT_EQ(config->optimizer().max_grad_norm(), 1);
    EXPECT_EQ(config->algorithm().advantage_clip(), 5);
    EXPECT_EQ(config->algorithm().std_scope(), v1::BATCH);
    EXPECT_EQ(config->algorithm().average_decay_cap(), 0.9);
    EXPECT_EQ(config->rewards().combination(), v1::AVERAGE);
    EXPECT_EQ(config->train().timestep_fraction(), 0.99);
    EXPECT_EQ(config->evaluation().solver(), v1::EULER);
    EXPECT_EQ(config->evaluation().steps(), 40);
    EXPECT_EQ(config->evaluation().every_updates(), config->algorithm().has_flow_grpo() ? 60 : 10);
    EXPECT_EQ(config->sampler().solver(), config->algorithm().has_flow_grpo() ? v1::EULER : v1::DPM_SOLVER_PP_2M);
  }
}

}  // namespace
}  // namespace flowawr
