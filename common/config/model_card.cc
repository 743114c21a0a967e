#include "common/config/model_card.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/config/algorithm_options.h"
#include "common/config/schema.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

constexpr size_t kMostTextBytes = 500;

// Of one line, and with nothing that Markdown reads in a table or between backquotes.
std::string Plain(const std::string& text) {
  return absl::StrReplaceAll(TruncateUtf8(text, kMostTextBytes),
                             {{"\n", " "}, {"\r", " "}, {"`", "'"}, {"|", "/"}, {"<", "("}, {">", ")"}});
}

// A JSON string is a YAML string, and a Python one.
std::string Quoted(const std::string& text) { return nlohmann::json(SanitizeUtf8(text)).dump(); }

std::string Rewards(const v1::RewardSpec& spec) {
  return absl::StrJoin(spec.terms(), ", ", [](std::string* out, const v1::RewardSpecTerm& term) {
    absl::StrAppend(out, Plain(term.scorer()), IsShadow(term) ? " (a shadow, not trained on" : " (weight ",
                    IsShadow(term) ? "" : absl::StrCat(term.weight()), ")");
  });
}

std::string Figure(bool is_measured, double value) {
  return is_measured ? absl::StrFormat("%.3f", value) : "missing";
}

std::string Row(const std::string& name, const v1::EvaluationSummary& figures) {
  return absl::StrCat("| ", name, " | ", Figure(figures.has_reward_mean(), figures.reward_mean()), " | ",
                      figures.has_reward_stderr() ? absl::StrFormat("%.3f", figures.reward_stderr()) : "", " | ",
                      figures.has_exact_share() ? absl::StrFormat("%.1f%%", 100 * figures.exact_share()) : "", " | ",
                      figures.images(), " |\n");
}

std::string Figures(const v1::CheckpointManifest& run) {
  if (!run.has_base() && !run.has_latest()) return "Not evaluated on held-out prompts.\n";
  std::string text =
      "Means over held-out prompts, which nothing was trained on, drawn by the average policy:\n\n"
      "| | reward | standard error | exact | images |\n|---|---|---|---|---|\n";
  if (run.has_base()) absl::StrAppend(&text, Row("base model", run.base()));
  if (run.has_latest() && run.latest().update() > 0)
    absl::StrAppend(&text, Row(absl::StrCat("after update ", run.latest().update()), run.latest()));
  if (run.reward_spec().version() > 1)
    absl::StrAppend(&text, "\nThe rewards were replaced during the run: the rows may be of different rewards.\n");
  return text;
}

// "FlowAWR (arXiv 2606.30376)": what the help begins with.
std::string MethodOf(const v1::AlgorithmConfig& algorithm) {
  const std::string& help = TraitsOf(algorithm).help();
  return help.substr(0, help.find(": "));
}

}  // namespace

std::string ModelCard(const v1::CheckpointManifest& run, const std::string& role) {
  const v1::RunConfig& config = run.config();
  const std::string base = config.model().path();
  const double scale = config.sampler().guidance_scale();
  const bool is_guided = scale != 0 && scale != 1;  // runs of older versions have none
  const std::string guidance = is_guided ? FormatNumber(scale) : "1.0";
  return absl::StrCat(
      "---\nbase_model: ", Quoted(base), "\nlibrary_name: peft\npipeline_tag: text-to-image\n",
      "tags: [lora, text-to-image, stable-diffusion-3, flowawr]\n---\n# ", Plain(config.name()), "\n\n",
      "A LoRA adapter for the transformer of `", Plain(base),
      "`, trained by reinforcement learning with ", MethodOf(config.algorithm()), ", by flowawr ", Version(), ".\n\n",
      "| | |\n|---|---|\n| run | ", Plain(config.name()), ", `", Plain(run.run_id()), "` |\n| policy | ", role,
      ", after update ", run.update(), " of ", config.train().updates(), " |\n| rewards | ", Rewards(run.reward_spec()),
      " |\n| trained on | ", run.samples_trained(), " images of the prompts in `", Plain(config.prompts().train()),
      "` |\n| size | ", config.model().height(), " x ", config.model().width(), " pixels (height x width), ",
      config.model().max_sequence_length(), " T5 tokens |\n| LoRA | rank ", config.lora().rank(), ", alpha ",
      config.lora().alpha(), ", ", Plain(absl::StrJoin(config.lora().target_modules(), ", ")), " |\n| seed | ",
      config.seed(), " |\n\n## Figures\n", Figures(run), "\n## Use\n```python\nfrom diffusers import ",
      "StableDiffusion3Pipeline\npipeline = StableDiffusion3Pipeline.from_pretrained(", Quoted(base), ")\n\n",
      "# with diffusers, from the file beside this folder:\n",
      "pipeline.load_lora_weights(\"..\", weight_name=\"pytorch_lora_weights.safetensors\")\n\n",
      "# or with peft, from this folder:\nfrom peft import PeftModel\n",
      "pipeline.transformer = PeftModel.from_pretrained(pipeline.transformer, \".\")\n\n",
      "image = pipeline(\"a prompt\", height=", config.model().height(), ", width=", config.model().width(),
      ", guidance_scale=", guidance, ", num_inference_steps=", config.evaluation().steps(), ",\n                 ",
      "max_sequence_length=", config.model().max_sequence_length(), ").images[0]\n```\n",
      is_guided ? absl::StrCat("It was trained with classifier-free guidance of ", guidance, ".")
                : "It was trained without classifier-free guidance, hence `guidance_scale=1.0`.",
      "\n\n## Licence\n",
      "An adapter is of use with its base model only and comes under that model's licence; the prompts and the rewards "
      "may have terms of their own.\n");
}

std::map<std::string, std::string> AdapterMetadata(const v1::CheckpointManifest& run, const std::string& role) {
  const v1::RunConfig& config = run.config();
  return {{"base_model", SanitizeUtf8(config.model().path())},
          {"name", SanitizeUtf8(config.name())},
          {"policy", role},
          {"update", absl::StrCat(run.update())},
          {"rewards", Rewards(run.reward_spec())},
          {"seed", absl::StrCat(config.seed())},
          {"rank", absl::StrCat(config.lora().rank())},
          {"alpha", absl::StrCat(config.lora().alpha())},
          {"software", absl::StrCat("flowawr ", Version())}};
}

}  // namespace flowawr
