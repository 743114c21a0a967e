#include "common/base/file.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

int FilesIn(const std::string& folder) {
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++files;
  return files;
}

TEST(WriteFileAtomically, ReplacesAndLeavesNothingElse) {
  const TempFolder folder;
  const std::string binary("a\0b", 3);
  ASSERT_TRUE(WriteFileAtomically(folder / "x", "old").ok());
  ASSERT_TRUE(WriteFileAtomically(folder / "x", binary).ok());
  EXPECT_EQ(ReadFile(folder / "x").value(), binary);
  EXPECT_EQ(FilesIn(folder.path()), 1);
}

TEST(WriteFileAtomically, NamesAFolderThatIsNotThere) {
  const absl::Status status = WriteFileAtomically("no/such/folder/x", "bytes");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no/such/folder/x"));
}

// In a process of its own, whose files may hold 4 KiB: the system's answer beyond is the same kind as a full disk's,
// an error of write().
TEST(WriteFileAtomically, LeavesTheOldFileWhenTheNewOneDoesNotFit) {
  const TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder / "x", "old").ok());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const absl::Status status = WriteFileAtomically(folder / "x", std::string(10'000, 'n'));
    _exit(status.code() == absl::StatusCode::kResourceExhausted &&
                  absl::string_view(status.message()).find("/x: File too large") != absl::string_view::npos
              ? 0
              : 1);
  }
  int exit_status = -1;
  ASSERT_EQ(waitpid(child, &exit_status, 0), child);
  EXPECT_EQ(exit_status, 0);
  EXPECT_EQ(ReadFile(folder / "x").value(), "old");
  EXPECT_EQ(FilesIn(folder.path()), 1);
}

// Kills a writer at the first byte that does not fit, which is before it could remove its temporary file.
TEST(RemoveTemporaryFiles, RemovesWhatAKilledWriterLeftAndNothingElse) {
  const TempFolder folder;
  ASSERT_TRUE(MakeDirectories(folder / "a/b").ok());
  for (const std::string name : {"notes.tmp", "notes.tmp12345", "tmp123456", ".tmp123456", "x.tmp12-456", "a/b/x"})
    folder.Write(name, "old");
  for (const std::string name : {"a/b/x", "y"}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const rlimit limit{4096, 4096};
      setrlimit(RLIMIT_FSIZE, &limit);  // and SIGXFSZ ends the process
      (void)WriteFileAtomically(folder / name, std::string(10'000, 'n'));
      _exit(0);
    }
    int exit_status = -1;
    ASSERT_EQ(waitpid(child, &exit_status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(exit_status));
  }
  ASSERT_EQ(FilesIn(folder.path()), 7);
  ASSERT_EQ(FilesIn(folder / "a/b"), 2);
  ASSERT_TRUE(RemoveTemporaryFiles(folder.path()).ok());
  EXPECT_EQ(FilesIn(folder.path()), 6);
  EXPECT_EQ(FilesIn(folder / "a/b"), 1);
  EXPECT_EQ(ReadFile(folder / "a/b/x").value(), "old");
  EXPECT_TRUE(RemoveTemporaryFiles(folder / "none").ok());
}

TEST(ReadFile, RefusesMoreThanItsLimit) {
  const TempFolder folder;
  const std::string path = folder.Write("x", std::string(100, 'x'));
  EXPECT_EQ(ReadFile(path, 100).value().size(), 100);
  EXPECT_EQ(ReadFile(path, 99).status().code(), absl::StatusCode::kResourceExhausted);
}

// A pipe would wait for its writer for ever, a device has no end.
TEST(ReadFile, RefusesWhatIsNoFileAtOnce) {
  const TempFolder folder;
  const std::string fifo = folder / "fifo", socket_path = folder / "socket";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(socket_path.size(), sizeof(address.sun_path));
  socket_path.copy(address.sun_path, socket_path.size());
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  for (const std::string& path : {fifo, socket_path, folder.path(), std::string("/dev/zero")}) {
    const absl::Status status = ReadFile(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << path;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path + " is no ordinary file"));
  }
  close(listener);
}

TEST(ReadFile, NamesWhatItCannotOpen) {
  const TempFolder folder;
  const absl::Status missing = ReadFile(folder / "none").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(folder / "none"));
  EXPECT_FALSE(ReadFile(folder.path()).ok());
}

// What a wrong name leads to is the user's to mend, not an error of the program.
TEST(ErrnoStatus, TellsWrongNamesFromInternalErrors) {
  const TempFolder folder;
  const std::string file = folder.Write("file", "");
  EXPECT_EQ(ReadFile(file + "/below").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(folder / std::string(300, 'x')).status().code(), absl::StatusCode::kInvalidArgument);
  std::filesystem::create_symlink("circle", folder / "circle");
  EXPECT_EQ(ReadFile(folder / "circle").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrnoStatus(EMFILE, "opening", "x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoStatus(EIO, "reading", "x").code(), absl::StatusCode::kInternal);
}

TEST(MakeDirectories, MakesAllThatAreMissing) {
  const TempFolder folder;
  EXPECT_TRUE(MakeDirectories(folder / "a/b/c").ok());
  EXPECT_TRUE(MakeDirectories(folder / "a/b/c").ok());
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  folder.Write("file", "");
  EXPECT_FALSE(MakeDirectories(folder / "file/below").ok());
}

TEST(FsyncDirectory, NamesAFolderThatIsNotThere) {
  const TempFolder folder;
  EXPECT_TRUE(FsyncDirectory(folder.path()).ok());
  EXPECT_EQ(FsyncDirectory(folder / "none").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace flowawr
