// From whom an actor that can fetch from others gets a policy version: the learner, another actor, or nobody yet. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace flowawr {

// Of one version, as it stands when an actor asks for it.
struct PolicySpread {
  // An actor that has it, is not the one that asks, and has not failed it.
  struct Holder {
    absl::string_view endpoint;
    int fetching = 0;  // actors that fetch from it now, of whatever version
    int served = 0;    // that have got this version from it
    int failed = 0;    // whom it did not give it
  };
  std::vector<Holder> holders;
  bool others_serve = false;  // there is another actor that serves at all
  int copies = 0;             // that the learner sent or sends
  int copies_under_way = 0;   // of them, those that were not adopted yet
  int fetching = 0;           // actors that fetch it from others now
  int waiting = 0;            // actors that were last told to ask again
};

struct PolicySource {
  enum class Kind { kLearner, kPeer, kLater };
  Kind kind = Kind::kLearner;
  std::string endpoint;                             // of kPeer
  absl::Duration retry_after = absl::ZeroDuration();  // of kLater
};

// What the learner sends of a version while other actors serve: so many at once, so many altogether.
inline constexpr int kCopiesAtOnce = 8, kCopies = 10;
// Actors that one actor is named to at once.
inline constexpr int kFetchesOfHolder = 4;
// An actor that so many others did not get it from is named to nobody for that version.
inline constexpr int kFailuresOfHolder = 3;

// The learner up to its limits; then the holder that failed the fewest, of those the one that is used least. Where
// nobody has the version and nobody fetches it, because those that got it are gone, the learner sends another copy.
PolicySource ChoosePolicySource(const PolicySpread& spread);

}  // namespace flowawr
