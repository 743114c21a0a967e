// flowawr-ocr-reader: the process behind OcrReader. Reads frames from its standard input, a socket, and answers there.
// Started by the reward server, of no use by hand.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "reward_server/scorers/frames.h"
#include "reward_server/scorers/tesseract_engine.h"

namespace flowawr {
namespace {

constexpr int kSocket = STDIN_FILENO;
const auto kForEver = [] { return absl::OkStatus(); };

// The parent may be killed while Tesseract is busy for minutes.
void LeaveWithTheParent() {
  std::thread([] {
    pollfd socket{kSocket, 0, 0};  // only that it is hung up
    while (poll(&socket, 1, -1) < 0) {
    }
    _exit(EXIT_SUCCESS);
  }).detach();
}

absl::StatusOr<std::string> Read(TesseractEngine& engine, const Frame& request) {
  GrayPage page;
  if (request.size() != 4 || !absl::SimpleAtoi(request[0], &page.height) ||
      !absl::SimpleAtoi(request[1], &page.width) || page.height <= 0 || page.width <= 0 ||
      request[3].size() / page.width != static_cast<size_t>(page.height) || request[3].size() % page.width != 0)
    return absl::InvalidArgumentError("not a page");
  page.pixels.assign(request[3].begin(), request[3].end());
  return engine.Read(page, request[2]);
}

absl::Status Answer(const absl::StatusOr<std::string>& text) {
  return SendFrame(kSocket,
                   {absl::StrCat(static_cast<int>(text.status().code())),
                    text.ok() ? *text : std::string(text.status().message())},
                   kForEver);
}

// Until the other side is gone.
absl::Status Serve() {
  FLOWAWR_ASSIGN_OR_RETURN(const Frame options, ReceiveFrame(kSocket, kForEver));
  if (options.size() != 4) return absl::InvalidArgumentError("not the options of a reader");
  auto engine = TesseractEngine::Load(
      {.language = options[0], .tessdata = options[1], .layout = options[2], .uses_dictionary = options[3] == "true"});
  if (!engine.ok()) return Answer(engine.status());
  FLOWAWR_RETURN_IF_ERROR(Answer(TesseractEngine::LibraryVersion()));
  while (true) {
    FLOWAWR_ASSIGN_OR_RETURN(const Frame request, ReceiveFrame(kSocket, kForEver));
    FLOWAWR_RETURN_IF_ERROR(Answer(Read(**engine, request)));
  }
}

int Main() {
  pollfd socket{kSocket, POLLOUT, 0};
  if (isatty(kSocket) || poll(&socket, 1, 0) <= 0) {
    std::fputs("flowawr-ocr-reader is started by flowawr-reward-server; it does nothing by hand\n", stderr);
    return 64;
  }
  LeaveWithTheParent();
  return absl::IsUnavailable(Serve()) ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace flowawr

int main() { return flowawr::Main(); }
