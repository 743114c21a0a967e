// What a GenEval prompt asks for: the metadata line of its benchmark and of the training sets in its format.
//
//   {"tag": "position", "include": [{"class": "laptop", "count": 1},
//                                   {"class": "cow", "count": 1, "color": "red", "position": ["right of", 0]}],
//    "exclude": [{"class": "cow", "count": 2}], "prompt": "..."}
//
// A prompt's metadata holds these fields as text, lists as JSON. Source: djghosh13/geneval, prompts/.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/prompts/geneval_colours.h"

namespace flowawr {

inline constexpr int64_t kMostGenevalObjects = 16;  // of a class; more are never seen

enum class GenevalRelation { kLeftOf, kRightOf, kAbove, kBelow };
const char* NameOf(GenevalRelation relation);  // "left of"

struct GenevalPosition {
  GenevalRelation relation = GenevalRelation::kLeftOf;
  size_t target = 0;  // the include clause, an earlier one, whose objects it is relative to
};

struct GenevalClause {
  std::string name;   // of the class, as the prompt has it
  int64_t label = 0;  // of the class, the detector's
  int64_t count = 1;
  std::string colour;  // one of kGenevalColours; empty: any
  std::optional<GenevalPosition> position;
};

struct GenevalTask {
  std::string tag;  // single_object, two_object, counting, colors, position or color_attr
  std::vector<GenevalClause> include;
  std::vector<GenevalClause> exclude;  // name, label and count: fewer objects than that
};

// A detector's classes by every name that GenEval may use for them: their own, and for COCO's "mouse", "remote" and
// "keyboard" GenEval's "computer mouse", "tv remote" and "computer keyboard" (and the other way round).
class GenevalClasses {
 public:
  explicit GenevalClasses(std::vector<std::string> names);  // by label

  // InvalidArgument with the nearest name.
  absl::StatusOr<int64_t> LabelOf(const std::string& name) const;
  const std::string& NameOf(int64_t label) const { return names_[static_cast<size_t>(label)]; }

 private:
  std::vector<std::string> names_;
  std::map<std::string, int64_t> labels_;
};

// InvalidArgument that says what is missing or wrong: a field, a class, a colour (with the nearest one that there is),
// a relation, a count that cannot be met, a position relative to a clause that does not come before.
absl::StatusOr<GenevalTask> ParseGenevalTask(const std::map<std::string, std::string>& metadata,
                                             const GenevalClasses& classes);

}  // namespace flowawr
