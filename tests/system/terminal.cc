#include "tests/system/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/match.h"
#include "tests/system/process.h"

namespace flowawr {
namespace {

constexpr char kMark = '\x06';  // which nobody writes

}  // namespace

Terminal::Terminal(int width, int height) {
  const winsize size = {static_cast<unsigned short>(height), static_cast<unsigned short>(width), 0, 0};
  char name[64] = "";
  EXPECT_EQ(openpty(&master_, &slave_, name, nullptr, &size), 0);
  path_ = name;
  reader_ = std::thread(&Terminal::Read, this);
}

Terminal::~Terminal() {
  close(slave_);  // with the last writer gone, reading the master fails
  reader_.join();
  close(master_);
}

termios Terminal::settings() const {
  termios settings = {};
  EXPECT_EQ(tcgetattr(slave_, &settings), 0);
  return settings;
}

void Terminal::Read() {
  char buffer[4096];
  ssize_t size = 0;
  while ((size = read(master_, buffer, sizeof(buffer))) > 0) {
    absl::MutexLock lock(&mutex_);
    written_.append(buffer, static_cast<size_t>(size));
  }
}

bool Terminal::HasMark() const { return absl::StrContains(written_, kMark); }

// What was written lies in the kernel until it is read: a mark written after it comes out after it. More may follow it
// at once.
std::string Terminal::written() {
  EXPECT_EQ(write(slave_, &kMark, 1), 1);
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(this, &Terminal::HasMark), kPatience));
  if (const size_t mark = written_.find(kMark); mark != std::string::npos) written_.erase(mark, 1);
  return written_;
}

std::vector<std::string> Terminal::Screen() {
  const std::string text = written();
  std::vector<std::string> lines(1);
  size_t row = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      if (++row == lines.size()) lines.emplace_back();
    } else if (text[i] == '\x1b') {
      const size_t end = text.find_first_of("AJKHmhl", i);
      if (end == std::string::npos) break;
      const int number = std::atoi(text.substr(i + 2, end - i - 2).c_str());
      if (text[end] == 'A') {
        row -= std::min(row, static_cast<size_t>(std::max(number, 1)));
      } else if (text[end] == 'J') {
        lines.resize(row + 1);
        lines[row].clear();
      } else if (text[end] == 'K') {
        lines[row].clear();
      } else if (text[end] != 'm') {  // a colour leaves no trace on the screen
        ADD_FAILURE() << "unexpected control sequence " << text.substr(i + 1, end - i);
      }
      i = end;
    } else if (text[i] != '\r') {
      lines[row] += text[i];
    }
  }
  return lines;
}

}  // namespace flowawr
