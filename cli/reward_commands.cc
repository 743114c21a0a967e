#include "cli/reward_commands.h"

#include <CLI/CLI.hpp>

#include "cli/reward/server_commands.h"
#include "cli/reward/spec_commands.h"

namespace flowawr {

void AddRewardCommands(CLI::App& app, int* exit_code) {
  CLI::App* reward = app.add_subcommand("reward", "Scorers of a reward server, rewards of a run");
  reward->require_subcommand(1);
  reward->footer(
      "Of a reward server: list, load, reload, unload. Of a run: weight, add, remove, promote, swap.\n\n"
      "A new reward, tried before it counts:\n"
      "  flowawr reward load size=jpeg_compressibility,scale=5 runs/tiny-ocr\n"
      "  flowawr reward add runs/tiny-ocr size,weight=0     # a shadow: compared, not trained on\n"
      "  flowawr status runs/tiny-ocr                       # how it judges beside the others\n"
      "  flowawr reward promote runs/tiny-ocr size --weight 0.2");
  AddServerCommands(*reward, exit_code);
  AddSpecCommands(*reward, exit_code);
}

}  // namespace flowawr
