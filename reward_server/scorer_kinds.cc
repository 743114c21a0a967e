// Every kind of scorer that the project ships: to add one, include it and register it here.
#include "reward_server/scorer_registry.h"
#include "reward_server/scorers/clip_scorer.h"
#include "reward_server/scorers/geneval_scorer.h"
#include "reward_server/scorers/jpeg_scorer.h"
#include "reward_server/scorers/judge_scorer.h"
#include "reward_server/scorers/ocr_scorer.h"

namespace flowawr {

const ScorerRegistry& ScorerRegistry::Default() {
  static const ScorerRegistry* const registry = [] {
    auto* registry = new ScorerRegistry;
    registry->Register("aesthetic", ClipScorer::LoadAesthetic);
    registry->Register("clipscore", ClipScorer::LoadClipScore);
    registry->Register("geneval", GenevalScorer::Load);
    registry->Register("hpsv2", ClipScorer::LoadHpsV2);
    registry->Register("jpeg_compressibility", JpegScorer::Load);
    registry->Register("judge", JudgeScorer::Load);
    registry->Register("ocr", OcrScorer::Load);
    registry->Register("pickscore", ClipScorer::LoadPickScore);
    return registry;
  }();
  return *registry;
}

}  // namespace flowawr
