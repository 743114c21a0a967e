#include "learner/actor_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// Actors that start again under new names must not fill the memory. One that comes back later registers anew.
constexpr absl::Duration kForgotten = absl::Hours(1);
constexpr size_t kMostActors = 4096;
// A session that was silent for longer does not keep others from its actor's name.
constexpr int kHeartbeatsOfSilence = 2;

}  // namespace

absl::Status NotRegistered(const std::string& actor_id) {
  return absl::FailedPreconditionError(absl::StrCat(
      "actor \"", actor_id, "\" is not registered with this learner; register with the run's model first"));
}

ActorBook::Actor* ActorBook::Find(const std::string& actor_id) {
  const auto found = actors_.find(actor_id);
  return found == actors_.end() ? nullptr : &found->second;
}

void ActorBook::Heard(const std::string& actor_id, Actor& actor, absl::Time now) {
  actor.seen = now;
  next_loss_ = std::min(next_loss_, now + kGone);
  if (std::exchange(actor.is_lost, false))
    news_.Add(false, absl::StrCat("actor ", actor_id, " is back"), {{"actor", actor_id}});
}

std::string ActorBook::Workforce(absl::Time now) const {
  const auto working = std::count_if(actors_.begin(), actors_.end(), [now](const auto& item) {
    return item.second.may_lease && !IsGone(item.second, now);
  });
  return absl::StrCat(working, working == 1 ? " actor works" : " actors work");
}

absl::StatusOr<bool> ActorBook::Claim(const std::string& actor_id, const std::string& session, absl::Time now) {
  if (Actor* actor = Find(actor_id)) {
    const absl::Duration silence = now - actor->seen;
    const bool is_another = actor->session != session;
    if (is_another && !actor->has_lost_watch && silence < kHeartbeatsOfSilence * heartbeat_)
      return absl::AlreadyExistsError(absl::StrCat("actor \"", actor_id, "\" is alive, heard of ",
                                                   absl::FormatDuration(absl::Trunc(silence, absl::Milliseconds(1))),
                                                   " ago: give this one another --id, or stop that one"));
    if (is_another) {
      if (actor->has_joined && !actor->is_lost) ++fleet_.lost;  // it had not left
      actor->has_joined = false;
      actor->unreachable_because.clear();
    }
    actor->session = session;
    actor->watch = 0;
    actor->has_lost_watch = false;
    return is_another;
  }
  std::erase_if(actors_, [this, now](const auto& item) {
    return actors_.size() >= kMostActors && IsGone(item.second, now);
  });
  if (actors_.size() >= kMostActors)
    return absl::ResourceExhaustedError(absl::StrCat("this learner knows ", kMostActors, " live actors already"));
  Actor& actor = actors_[actor_id];
  actor.session = session;
  Heard(actor_id, actor, now);
  return true;
}

ActorBook::Actor& ActorBook::Register(const std::string& actor_id, bool has_model, const std::string& address,
                                      int released, absl::Time now) {
  std::erase_if(actors_, [now](const auto& item) { return now - item.second.seen >= kForgotten; });
  Actor& actor = actors_[actor_id];
  actor.is_lost = false;
  Heard(actor_id, actor, now);
  actor.may_lease = has_model;
  if (!address.empty()) actor.address = address;
  if (has_model) actor.rate.Begin(now);
  if (has_model && !actor.has_joined) ++fleet_.joined;
  if (has_model || !actor.has_joined) {
    const std::string what = !has_model         ? " is here and loads its model"
                             : actor.has_joined ? " registered again"
                                                : absl::StrCat(" joined: ", Workforce(now));
    const std::string lost =
        released > 0 ? absl::StrCat("; ", released, " groups that it had begun are begun anew") : "";
    news_.Add(false, absl::StrCat("actor ", actor_id, what, lost), {{"actor", actor_id}});
  }
  actor.has_joined |= has_model;
  return actor;
}

bool ActorBook::Leave(const std::string& actor_id, absl::Time now) {
  const auto found = actors_.find(actor_id);
  if (found == actors_.end()) return false;
  const uint64_t groups = found->second.groups;
  if (found->second.has_joined) ++fleet_.left;
  actors_.erase(found);
  news_.Add(false, absl::StrCat("actor ", actor_id, " left after ", groups, " groups; ", Workforce(now)),
            {{"actor", actor_id}});
  return true;
}

bool ActorBook::IsOf(const std::string& actor_id, const std::string& session) const {
  const auto found = actors_.find(actor_id);
  return found != actors_.end() && found->second.session == session;
}

ActorBook::WatchId ActorBook::BeginWatch(const std::string& actor_id, const std::string& session) {
  Actor* actor = Find(actor_id);
  if (actor == nullptr || actor->session != session) return 0;
  actor->has_lost_watch = false;
  return actor->watch = next_watch_++;
}

void ActorBook::EndWatch(const std::string& actor_id, WatchId watch) {
  Actor* actor = Find(actor_id);
  if (actor == nullptr || watch == 0 || actor->watch != watch) return;
  actor->watch = 0;
  actor->has_lost_watch = true;
}

void ActorBook::Made(const std::string& actor_id, uint32_t samples, absl::Time now) {
  Actor* actor = Find(actor_id);
  if (actor == nullptr) return;
  Heard(actor_id, *actor, now);
  actor->unreachable_because.clear();
  ++actor->groups;
  actor->samples += samples;
  actor->rate.Add(now, samples);
}

void ActorBook::Unreachable(const std::string& actor_id, const std::string& why) {
  Actor* actor = Find(actor_id);
  if (actor == nullptr || actor->unreachable_because == why) return;
  actor->unreachable_because = why;
  news_.Add(true, absl::StrCat("actor ", actor_id, " hands its groups back: ", why), {{"actor", actor_id}});
}

void ActorBook::NoteLost(absl::Time now) {
  if (now < next_loss_) return;
  next_loss_ = absl::InfiniteFuture();
  for (auto& [id, actor] : actors_) {
    if (actor.is_lost) continue;
    if (!IsGone(actor, now)) {
      next_loss_ = std::min(next_loss_, actor.seen + kGone);
      continue;
    }
    actor.is_lost = true;
    ++fleet_.lost;
    news_.Add(true,
              absl::StrCat("actor ", id, " is lost: not heard of for ", absl::FormatDuration(kGone), ", after ",
                           actor.groups, " groups; ", Workforce(now)),
              {{"actor", id}});
  }
}

std::vector<std::string> ActorBook::OthersThan(const std::string& actor_id, absl::Time now) const {
  std::vector<std::string> others;
  for (const auto& [id, actor] : actors_)
    if (id != actor_id && !actor.has_lost_watch && !IsGone(actor, now)) others.push_back(id);
  return others;
}

std::map<std::string, std::map<std::string, double>> ActorBook::stage_seconds(absl::Time now) const {
  std::map<std::string, std::map<std::string, double>> seconds;
  for (const auto& [id, actor] : actors_)
    if (!IsGone(actor, now)) seconds[id] = actor.stage_seconds;
  return seconds;
}

std::optional<absl::Duration> ActorBook::UntilAllAreGone(absl::Time now) const {
  std::optional<absl::Duration> until;
  for (const auto& [id, actor] : actors_)
    if (!actor.was_told_finished && !IsGone(actor, now))
      until = std::max(until.value_or(absl::ZeroDuration()), actor.seen + kGone - now);
  return until;
}

void ActorBook::AddTo(v1::Status& status, const std::map<std::string, uint32_t>& held_leases, absl::Time now) const {
  for (const auto& [id, actor] : actors_) {
    if (IsGone(actor, now)) continue;
    v1::ActorStatus& out = *status.add_actors();
    out.set_actor_id(id);
    out.set_groups(actor.groups);
    out.set_samples(actor.samples);
    out.set_images_per_s(actor.rate.PerSecond(now));
    out.set_address(actor.address);
    if (const auto found = held_leases.find(id); found != held_leases.end()) out.set_held_leases(found->second);
    out.set_seconds_since_seen(absl::ToDoubleSeconds(now - actor.seen));
    out.set_adopted_version(actor.adopted_version);
    out.mutable_stage_seconds()->insert(actor.stage_seconds.begin(), actor.stage_seconds.end());
    if (!actor.unreachable_because.empty())
      status.add_warnings(absl::StrCat("actor ", id, " hands its groups back: ", actor.unreachable_because));
  }
}

}  // namespace flowawr
