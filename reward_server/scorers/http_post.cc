#include "reward_server/scorers/http_post.h"

#include <curl/curl.h>

#include <mutex>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kMaxBodyBytes = 4 << 20;
constexpr int kPollMs = 100;
constexpr absl::Duration kConnectTime = absl::Seconds(10);

size_t Append(char* bytes, size_t size, size_t count, void* body) {
  std::string& text = *static_cast<std::string*>(body);
  if (text.size() + size * count > kMaxBodyBytes) return 0;  // an error to libcurl
  text.append(bytes, size * count);
  return size * count;
}

absl::Status StatusOf(CURLcode code, const char* message) {
  const absl::string_view what = message[0] != '\0' ? message : curl_easy_strerror(code);
  if (code == CURLE_OPERATION_TIMEDOUT) return absl::DeadlineExceededError(what);
  if (code == CURLE_WRITE_ERROR) return absl::ResourceExhaustedError("the answer is longer than 4 MiB");
  return absl::UnavailableError(what);
}

}  // namespace

struct HttpPoster::Handles {
  CURL* easy = curl_easy_init();
  CURLM* multi = curl_multi_init();
  ~Handles() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
};

HttpPoster::HttpPoster() : handles_([] {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  return std::make_unique<Handles>();
}()) {}

HttpPoster::~HttpPoster() = default;

absl::StatusOr<HttpAnswer> HttpPoster::Post(const std::string& url, const std::vector<std::string>& headers,
                                            const std::string& body, absl::Duration timeout,
                                            KeepGoing keep_going) {
  CURL* const easy = handles_->easy;
  CURLM* const multi = handles_->multi;
  if (easy == nullptr || multi == nullptr) return absl::ResourceExhaustedError("libcurl has no memory");
  curl_slist* list = curl_slist_append(nullptr, "Content-Type: application/json");
  // Else libcurl asks first whether a body of more than a megabyte may come, and waits a second for an answer to that.
  list = curl_slist_append(list, "Expect:");
  for (const std::string& header : headers) list = curl_slist_append(list, header.c_str());
  const absl::Cleanup free_list = [list] { curl_slist_free_all(list); };
  HttpAnswer answer;
  char message[CURL_ERROR_SIZE] = "";
  curl_easy_reset(easy);  // the connection stays
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(timeout)));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(kConnectTime)));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer.body);
  curl_multi_add_handle(multi, easy);
  const absl::Cleanup remove = [=] { curl_multi_remove_handle(multi, easy); };
  int running = 1;
  while (running > 0) {
    if (curl_multi_perform(multi, &running) != CURLM_OK) return absl::InternalError("libcurl failed");
    if (running == 0) break;
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    curl_multi_poll(multi, nullptr, 0, kPollMs, nullptr);
  }
  int left = 0;
  const CURLMsg* const end = curl_multi_info_read(multi, &left);
  if (end == nullptr) return absl::InternalError("libcurl does not tell how the call ended");
  if (end->data.result != CURLE_OK) return StatusOf(end->data.result, message);
  long code = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
  answer.code = static_cast<int>(code);
  if (retry_after > 0) answer.retry_after = absl::Seconds(retry_after);
  return answer;
}

}  // namespace flowawr
