// Shows Abseil's locks to ThreadSanitizer.
//
// The system's Abseil is not built for ThreadSanitizer, which so sees no order between what two threads do under one
// absl::Mutex and reports races that are none. The functions here stand before the library's own in every executable of
// the tsan preset: they tell ThreadSanitizer, then call the library's.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include "absl/base/config.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// The library's function with the symbol `suffix` in Abseil's namespace, as Debian names that.
#define TSAN_STRING_(name) #name
#define TSAN_STRING(name) TSAN_STRING_(name)
#define REAL(signature, prefix, suffix)                                                          \
  reinterpret_cast<signature>([] {                                                               \
    static void* const found =                                                                   \
        dlsym(RTLD_NEXT, prefix "4absl7" TSAN_STRING(ABSL_OPTION_INLINE_NAMESPACE_NAME) suffix); \
    return found;                                                                                \
  }())

namespace absl {
ABSL_NAMESPACE_BEGIN
namespace {

constexpr unsigned kRead = __tsan_mutex_read_lock;

// Locking, or waiting with the lock given up meanwhile, which to ThreadSanitizer is an unlock and a lock.
class Locking {
 public:
  explicit Locking(void* mutex, unsigned flags = 0) : mutex_(mutex), flags_(flags) {
    __tsan_mutex_pre_lock(mutex_, flags_);
  }
  ~Locking() { __tsan_mutex_post_lock(mutex_, flags_, 0); }

 private:
  void* const mutex_;
  const unsigned flags_;
};

void GiveUp(void* mutex, unsigned flags = 0) {
  __tsan_mutex_pre_unlock(mutex, flags);
  __tsan_mutex_post_unlock(mutex, flags);
}

}  // namespace

// So that a new lock in the same memory has no past.
Mutex::~Mutex() {
  REAL(void (*)(Mutex*), "_ZN", "5MutexD1Ev")(this);
  __tsan_mutex_destroy(this, __tsan_mutex_linker_init);
}

void Mutex::Lock() {
  Locking locking(this);
  REAL(void (*)(Mutex*), "_ZN", "5Mutex4LockEv")(this);
}

void Mutex::Unlock() {
  __tsan_mutex_pre_unlock(this, 0);
  REAL(void (*)(Mutex*), "_ZN", "5Mutex6UnlockEv")(this);
  __tsan_mutex_post_unlock(this, 0);
}

bool Mutex::TryLock() {
  __tsan_mutex_pre_lock(this, __tsan_mutex_try_lock);
  const bool is_locked = REAL(bool (*)(Mutex*), "_ZN", "5Mutex7TryLockEv")(this);
  __tsan_mutex_post_lock(this, __tsan_mutex_try_lock | (is_locked ? 0 : __tsan_mutex_try_lock_failed), 0);
  return is_locked;
}

void Mutex::ReaderLock() {
  Locking locking(this, kRead);
  REAL(void (*)(Mutex*), "_ZN", "5Mutex10ReaderLockEv")(this);
}

void Mutex::ReaderUnlock() {
  __tsan_mutex_pre_unlock(this, kRead);
  REAL(void (*)(Mutex*), "_ZN", "5Mutex12ReaderUnlockEv")(this);
  __tsan_mutex_post_unlock(this, kRead);
}

void Mutex::Await(const Condition& condition) {
  GiveUp(this);
  Locking locking(this);
  REAL(void (*)(Mutex*, const Condition&), "_ZN", "5Mutex5AwaitERKNS0_9ConditionE")(this, condition);
}

// AwaitWithTimeout() of the library calls this one.
bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  GiveUp(this);
  Locking locking(this);
  return REAL(bool (*)(Mutex*, const Condition&, Time), "_ZN", "5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE")(
      this, condition, deadline);
}

void Mutex::LockWhen(const Condition& condition) {
  Locking locking(this);
  REAL(void (*)(Mutex*, const Condition&), "_ZN", "5Mutex8LockWhenERKNS0_9ConditionE")(this, condition);
}

// LockWhenWithTimeout() of the library calls this one.
bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  Locking locking(this);
  return REAL(bool (*)(Mutex*, const Condition&, Time), "_ZN",
              "5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE")(this, condition, deadline);
}

void CondVar::Wait(Mutex* mutex) {
  GiveUp(mutex);
  Locking locking(mutex);
  REAL(void (*)(CondVar*, Mutex*), "_ZN", "7CondVar4WaitEPNS0_5MutexE")(this, mutex);
}

// WaitWithTimeout() of the library calls this one.
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  GiveUp(mutex);
  Locking locking(mutex);
  return REAL(bool (*)(CondVar*, Mutex*, Time), "_ZN", "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE")(this, mutex,
                                                                                                            deadline);
}

void Notification::Notify() {
  __tsan_release(this);
  REAL(void (*)(Notification*), "_ZN", "12Notification6NotifyEv")(this);
}

void Notification::WaitForNotification() const {
  REAL(void (*)(const Notification*), "_ZNK", "12Notification19WaitForNotificationEv")(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  const bool is_notified = REAL(bool (*)(const Notification*, Duration), "_ZNK",
                                "12Notification30WaitForNotificationWithTimeoutENS0_8DurationE")(this, timeout);
  if (is_notified) __tsan_acquire(const_cast<Notification*>(this));
  return is_notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
