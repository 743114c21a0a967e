// Does a picture show what a GenEval prompt asks for? Decided from the objects that were found in it. Pure but for the
// colours, which are asked for only where they decide something.
//
// Three answers to one picture:
//   official  djghosh13/geneval, evaluate(): every include clause is met by its first `count` objects, by score; more
//             of them do no harm, unless an exclude clause says so. What the benchmark's tables show.
//   strict    every include clause has exactly `count` objects, all of the colour and in the position that it asks for,
//             and no exclude clause is broken: the reward of trainings, in which drawing more must not pay.
//   graded    the mean over the marks of the include clauses: 1 - |want - found| / want for the count (negative beyond
//             twice as many) and, where a colour is asked for, for the objects that have it; 1 or 0 for a position. A
//             colour has 0 where the count is wrong, a position where the clause has failed before. An excluded class
//             that no clause includes adds 1 or 0. yifan123/reward-server, evaluate_reward(), but that it adds a 1 to
//             every position, right or wrong, and leaves a position out where the colour is wrong.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "reward_server/detection/instances.h"
#include "reward_server/scorers/geneval_task.h"

namespace flowawr {

struct GenevalThresholds {
  double confidence = 0.3;
  double counting_confidence = 0.9;  // for the tag `counting`
  double position = 0.1;             // of the objects' sides: closer ones have no relation

  double ConfidenceFor(const GenevalTask& task) const {
    return task.tag == "counting" ? counting_confidence : confidence;
  }
};

// The objects of each label by descending score, at most kMostGenevalObjects of them. `instances` have a score above
// what the task asks for, in descending order.
std::map<int64_t, std::vector<Instance>> ByLabel(const std::vector<Instance>& instances);

// How A lies to B: the offset of the centres, reduced by `threshold` * (side of A + side of B) towards 0 along each
// axis, divided by the length of the whole offset; beyond a half either way it is a relation. There may be none.
std::set<GenevalRelation> RelationsOf(const std::array<float, 4>& a, const std::array<float, 4>& b, double threshold);

// The colour of each object, which are of the class called `name`.
using ColoursOf = absl::FunctionRef<absl::StatusOr<std::vector<std::string>>(const std::string& name,
                                                                             absl::Span<const Instance> objects)>;

struct GenevalVerdict {
  bool is_exact = false;    // strict
  bool is_correct = false;  // official
  double graded = 0;
  std::string reason;  // why it is not exact, in GenEval's words; empty if it is
  std::string found;   // for people: "1 red circle, 2 squares"
};

// An error is the colours' own.
absl::StatusOr<GenevalVerdict> Decide(const GenevalTask& task, const GenevalClasses& classes,
                                      const std::map<int64_t, std::vector<Instance>>& objects, ColoursOf colours_of,
                                      const GenevalThresholds& thresholds);

}  // namespace flowawr
