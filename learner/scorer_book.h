// What a run knows of the scorers that it needs: at which servers they are, how to load them, and which are gone.
//
// A scorer is known by the configuration (its kind and options) or by having been seen at a server, whoever loaded it
// there. It is gone when a server that answers does not have it any more and the connection to it was lost in between: it
// was started again, empty. Then it is to be loaded again. One that goes while the connection stays was unloaded by
// somebody who meant it: that is told, and nothing more until the server is found to be away.
//
// Pure: the time is an argument. Not thread-safe; its owner guards it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

class ScorerBook {
 public:
  struct Options {
    int most_attempts = 8;  // to load one again, until its server goes and comes once more
    absl::Duration first_pause = absl::Seconds(1);
    absl::Duration longest_pause = absl::Minutes(1);
  };
  // To load `scorer` at `endpoint`.
  struct Load {
    std::string endpoint;
    v1::LoadScorerRequest scorer;
  };

  explicit ScorerBook(const v1::RewardsConfig& rewards) : ScorerBook(rewards, Options()) {}
  ScorerBook(const v1::RewardsConfig& rewards, const Options& options);

  // The rewards from now on, every term with its endpoint. What is no longer needed is forgotten but for how to load it.
  void Need(const v1::RewardSpec& spec);
  // Each once.
  std::vector<std::string> endpoints() const;

  // What became of the connection to a server since it last told.
  enum class Contact {
    kKept,
    kRenewed,  // made anew, as servers want now and then; or the process is another one
    kLost,     // calls failed: the process is another one, or was cut off
  };
  // A server told what it has.
  void OnList(const std::string& endpoint, const v1::ListScorersResponse& list, Contact contact);
  // A server did not tell. Unimplemented: somebody's own, of which nothing is known and nothing said.
  void OnNoList(const std::string& endpoint, const absl::Status& why);

  // Those to load now; each counts as an attempt that is under way until OnLoad().
  std::vector<Load> TakeLoads(absl::Time now);
  // AlreadyExists: somebody else is quicker.
  void OnLoad(const Load& load, const absl::Status& status, absl::Time now);

  // One sentence a scorer or server that is not as the run needs it.
  std::vector<std::string> warnings() const;
  // Of a scorer, how often it was loaded again.
  const std::map<std::string, uint64_t>& loads() const { return loads_; }

  // How to load what was seen, for the next learner: a JSON object a line. Lines that cannot be read are left out.
  std::string ToJsonLines() const;
  void AddJsonLines(const std::string& lines);

 private:
  enum class State { kNeverSeen, kThere, kGone, kUnloaded };
  struct Place {
    State state = State::kNeverSeen;
    std::string stuck_because;  // of one that is there and does not score
    bool is_loading = false;
    int attempts = 0;  // to load it again, since it went
    absl::Time next = absl::InfinitePast();
    std::string error;  // of the last attempt
  };
  struct Server {
    std::map<std::string, Place> scorers;
    std::string away_because;  // empty: it answers, or was not asked yet
  };

  // Nullptr: not known.
  const v1::LoadScorerRequest* HowToLoad(const std::string& endpoint, const std::string& scorer) const;

  const Options options_;
  std::map<std::string, v1::LoadScorerRequest> configured_;  // by scorer
  std::map<std::pair<std::string, std::string>, v1::LoadScorerRequest> seen_;  // by endpoint and scorer
  std::map<std::string, Server> servers_;
  std::map<std::string, uint64_t> loads_;
};

}  // namespace flowawr
