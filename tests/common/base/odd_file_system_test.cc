// File systems that cannot do what ours can. This executable's own fsync() and flock() stand before the C library's and
// fail as such mounts do.
#include <dlfcn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/folder_lock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace {
int folder_sync_error = 0, lock_error = 0;
}  // namespace

extern "C" int fsync(int fd) {
  struct stat found {};
  if (folder_sync_error != 0 && fstat(fd, &found) == 0 && S_ISDIR(found.st_mode)) {
    errno = folder_sync_error;
    return -1;
  }
  return reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fsync"))(fd);
}

extern "C" int flock(int fd, int operation) {
  if (lock_error != 0) {
    errno = lock_error;
    return -1;
  }
  return reinterpret_cast<int (*)(int, int)>(dlsym(RTLD_NEXT, "flock"))(fd, operation);
}

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OddFileSystem : public ::testing::Test {
 protected:
  ~OddFileSystem() override { folder_sync_error = lock_error = 0; }
  const TempFolder folder_;
};

TEST_F(OddFileSystem, ThatCannotSyncFoldersKeepsFilesNevertheless) {
  for (const int error : {EINVAL, ENOTSUP, ENOSYS}) {
    folder_sync_error = error;
    const absl::Status status = WriteFileAtomically(folder_ / "x", absl::StrCat(error));
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(ReadFile(folder_ / "x").value(), absl::StrCat(error));
  }
}

TEST_F(OddFileSystem, ThatIsBrokenIsTold) {
  folder_sync_error = EIO;
  EXPECT_EQ(WriteFileAtomically(folder_ / "x", "y").code(), absl::StatusCode::kInternal);
}

TEST_F(OddFileSystem, WithoutLocksIsNotTakenForOneInUse) {
  for (const int error : {ENOLCK, EOPNOTSUPP, ENOSYS}) {
    lock_error = error;
    const absl::Status status = FolderLock::Take(folder_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("cannot lock files"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("in use")));
  }
}

TEST(FolderLock, IsPassedOnByItsDescriptorAndHeldUntilTheLastOneLetsGo) {
  const TempFolder folder;
  auto first = FolderLock::Take(folder.path());
  ASSERT_TRUE(first.ok()) << first.status();
  const int copy = dup(first->descriptor());  // as a child has it
  auto inherited = FolderLock::Inherit(folder.path(), copy);
  ASSERT_TRUE(inherited.ok()) << inherited.status();
  { const FolderLock gone = *std::move(first); }
  EXPECT_EQ(FolderLock::Take(folder.path()).status().code(), absl::StatusCode::kAborted);
  { const FolderLock gone = *std::move(inherited); }
  EXPECT_TRUE(FolderLock::Take(folder.path()).ok());
  EXPECT_EQ(FolderLock::Inherit(folder.path(), STDIN_FILENO).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(FolderLock, SaysSomethingWhenTheHolderIsNotTold) {
  const TempFolder folder;
  const auto held = FolderLock::Take(folder.path());
  ASSERT_TRUE(held.ok());
  ASSERT_EQ(ftruncate(held->descriptor(), 0), 0);
  EXPECT_THAT(std::string(FolderLock::Take(folder.path()).status().message()), HasSubstr("in use by another process;"));
}

TEST(FolderLock, RefusesALockThatIsNoFile) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo((folder / "lock").c_str(), 0600), 0);
  EXPECT_EQ(FolderLock::Take(folder.path()).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace flowawr
