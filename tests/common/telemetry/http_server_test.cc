#include "common/telemetry/http_server.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/certificate.h"
#include "tests/testing/loopback_socket.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "a-token-for-looking";

struct Page {
  CURLcode result = CURLE_OK;
  long code = 0;
  std::string body, head;
};

struct Asking {
  std::string authority = {}, bearer = {}, user_and_password = {};
  std::vector<std::string> headers = {};
  const char* method = nullptr;
  bool takes_gzip = false;
};

size_t Append(char* bytes, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(bytes, size * count);
  return size * count;
}

// As a browser or Prometheus asks, by a library that knows nothing of this one.
Page Get(const std::string& url, const Asking& asking = {}) {
  Page page;
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  curl_slist* headers = nullptr;
  for (const std::string& header : asking.headers) headers = curl_slist_append(headers, header.c_str());
  if (!asking.bearer.empty()) headers = curl_slist_append(headers, ("Authorization: Bearer " + asking.bearer).c_str());
  absl::Cleanup free_headers = [headers] { curl_slist_free_all(headers); };
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &page.body);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, Append);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &page.head);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 30L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_PATH_AS_IS, 1L);
  if (!asking.authority.empty()) curl_easy_setopt(curl.get(), CURLOPT_CAINFO, asking.authority.c_str());
  if (!asking.user_and_password.empty())
    curl_easy_setopt(curl.get(), CURLOPT_USERPWD, asking.user_and_password.c_str());
  if (asking.method != nullptr) curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, asking.method);
  if (asking.takes_gzip) curl_easy_setopt(curl.get(), CURLOPT_ACCEPT_ENCODING, "gzip");
  page.result = curl_easy_perform(curl.get());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &page.code);
  return page;
}

std::unique_ptr<HttpServer> Serve(HttpOptions options = {}) {
  if (options.listen.empty()) options.listen = "127.0.0.1:0";
  auto server = HttpServer::Start(std::move(options));
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

std::string Url(const HttpServer& server, const std::string& path) {
  return absl::StrCat(server.has_tls() ? "https://" : "http://", server.endpoint(), path);
}

HttpHandler Say(const std::string& text) {
  return [text](const HttpRequest&) { return HttpResponse{.body = text}; };
}

// What comes back for these bytes, until the server closes.
std::string Raw(int port, const std::string& bytes) {
  const int fd = ConnectTo(port);
  if (fd < 0) return "not connected";
  absl::Cleanup close_fd = [fd] { close(fd); };
  (void)!send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::string answer;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, got);
  return answer;
}

TEST(HttpServer, AnswersPathsByTheirHandlers) {
  const auto server = Serve();
  server->Handle("/one", [](const HttpRequest& request) {
    std::string text = request.path;
    for (const auto& [name, value] : request.query) absl::StrAppend(&text, "|", name, "=", value);
    return HttpResponse{.body = text, .content_type = "text/html", .headers = {{"X-More", "yes"}}};
  });
  server->Handle("/pictures/", [](const HttpRequest&) {
    return HttpResponse{.body = "a picture", .headers = {{"Cache-Control", "private, max-age=3600"}}};
  });
  const Page page = Get(Url(*server, "/one?a=%41+b&c"));
  EXPECT_EQ(page.code, 200);
  EXPECT_EQ(page.body, "/one|a=A b|c=");
  EXPECT_THAT(page.head, AllOf(HasSubstr("Content-Type: text/html"), HasSubstr("X-More: yes"), HasSubstr("nosniff")));
  EXPECT_THAT(page.head, HasSubstr("Cache-Control: no-store"));
  const Page picture = Get(Url(*server, "/pictures/7.png"));
  EXPECT_EQ(picture.body, "a picture");
  EXPECT_THAT(picture.head, AllOf(HasSubstr("Cache-Control: private, max-age=3600"), Not(HasSubstr("no-store"))));
  EXPECT_EQ(Get(Url(*server, "/pictures")).code, 404);
  EXPECT_THAT(Get(Url(*server, "/two")).body, AllOf(HasSubstr("there is no such page"), HasSubstr("/one")));
  server->Handle("/one", nullptr);
  EXPECT_EQ(Get(Url(*server, "/one")).code, 404);
}

TEST(HttpServer, CompressesForThoseWhoTakeIt) {
  const auto server = Serve();
  std::string text;
  for (int i = 0; i < 20'000; ++i) absl::StrAppend(&text, "flowawr_metric_", i % 7, " ", i, "\n");
  server->Handle("/", Say(text));
  const Page plain = Get(Url(*server, "/")), packed = Get(Url(*server, "/"), {.takes_gzip = true});
  EXPECT_EQ(plain.body, text);
  EXPECT_EQ(packed.body, text);
  EXPECT_THAT(packed.head, HasSubstr("Content-Encoding: gzip"));
  EXPECT_THAT(plain.head, Not(HasSubstr("gzip")));
}

TEST(HttpServer, LooksOnlyNeverChanges) {
  const auto server = Serve();
  server->Handle("/", Say("text"));
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE"})
    EXPECT_EQ(Get(Url(*server, "/"), {.method = method}).code, 405) << method;
  EXPECT_THAT(Raw(server->port(), "HEAD / HTTP/1.1\r\n\r\n"),
              AllOf(HasSubstr("200 OK"), HasSubstr("Content-Length: 4"), Not(HasSubstr("text\n"))));
}

TEST(HttpServer, RefusesWhatIsNoRequest) {
  const auto server = Serve();
  std::atomic<int> calls = 0;
  server->Handle("/", [&calls](const HttpRequest&) {
    ++calls;
    return HttpResponse{};
  });
  for (const char* request : {"hello\r\n\r\n", "GET\r\n\r\n", "GET / SMTP/1.1\r\n\r\n", "GET x HTTP/1.1\r\n\r\n",
                              "GET /%4 HTTP/1.1\r\n\r\n", "GET /%00 HTTP/1.1\r\n\r\n", "\r\n\r\n"})
    EXPECT_THAT(Raw(server->port(), request), HasSubstr("HTTP/1.1 400")) << request;
  EXPECT_THAT(Raw(server->port(), "GET / HTTP/1.1\r\nX: " + std::string(9000, 'x')), HasSubstr("HTTP/1.1 431"));
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(Get(Url(*server, "/../../etc/passwd")).code, 200) << "a path is a name, not a file";
}

TEST(HttpServer, WhatAHandlerThrowsIsAnAnswer) {
  const auto server = Serve();
  server->Handle("/", [](const HttpRequest&) -> HttpResponse { throw std::runtime_error("no luck"); });
  const Page page = Get(Url(*server, "/"));
  EXPECT_EQ(page.code, 500);
  EXPECT_THAT(page.body, HasSubstr("no luck"));
}

TEST(HttpServer, WantsTheTokenWhereThereIsOne) {
  const auto server = Serve({.admits = [](absl::string_view token) { return token == kToken; }});
  server->Handle("/", Say("text"));
  const std::string url = Url(*server, "/");
  Page page = Get(url);
  EXPECT_EQ(page.code, 401);
  EXPECT_THAT(page.head, HasSubstr("WWW-Authenticate: Basic"));
  EXPECT_EQ(Get(url, {.bearer = "another"}).code, 401);
  EXPECT_EQ(Get(url, {.bearer = kToken}).body, "text");
  EXPECT_EQ(Get(url, {.user_and_password = std::string("anybody:") + kToken}).body, "text");
  EXPECT_EQ(Get(url, {.user_and_password = "anybody:another"}).code, 401);
  page = Get(url + "?token=" + kToken, {.bearer = kToken});
  EXPECT_EQ(page.code, 400);
  EXPECT_THAT(page.body, HasSubstr("Authorization: Bearer"));
  EXPECT_EQ(Get(Url(*server, "/no-such-page")).code, 401) << "strangers learn nothing";
}

TEST(HttpServer, OnLoopbackAnswersNoOtherName) {
  const auto server = Serve();
  server->Handle("/", Say("text"));
  EXPECT_EQ(Get(Url(*server, "/"), {.headers = {"Host: evil.example"}}).code, 421);
  EXPECT_EQ(Get(Url(*server, "/"), {.headers = {"Host: evil.example:80"}}).code, 421);
  EXPECT_EQ(Get(Url(*server, "/"), {.headers = {"Host: localhost:80"}}).code, 200);
  EXPECT_EQ(Get(Url(*server, "/"), {.headers = {"Host: [::1]:80"}}).code, 200);
}

TEST(HttpServer, SpeaksTlsWithACertificateThatMayChange) {
  const TempFolder folder;
  const Certificate authority = MakeAuthority(folder, "ca"), next_authority = MakeAuthority(folder, "next-ca");
  const Certificate first = SignCertificate(folder, authority, "first");
  const Certificate next = SignCertificate(folder, next_authority, "next");
  absl::Mutex mutex;
  HttpIdentity identity{ReadFile(first.key).value(), ReadFile(first.cert).value()};
  const auto server = Serve({.listen = "0.0.0.0:0", .identity = [&] {
                               absl::MutexLock lock(&mutex);
                               return identity;
                             }});
  server->Handle("/", Say(std::string(3 << 20, 'x')));
  EXPECT_EQ(Get(Url(*server, "/"), {.authority = authority.cert}).body.size(), 3 << 20);
  EXPECT_EQ(Get(Url(*server, "/"), {.authority = next_authority.cert}).result, CURLE_PEER_FAILED_VERIFICATION);
  EXPECT_THAT(Raw(server->port(), "GET / HTTP/1.1\r\n\r\n"), Not(HasSubstr("200 OK")));
  const auto change = [&](HttpIdentity to) {
    absl::MutexLock lock(&mutex);
    identity = std::move(to);
  };
  change({"no", "PEM"});
  EXPECT_EQ(Get(Url(*server, "/"), {.authority = authority.cert}).code, 200) << "the old one stays";
  change({ReadFile(next.key).value(), ReadFile(next.cert).value()});
  EXPECT_EQ(Get(Url(*server, "/"), {.authority = next_authority.cert}).code, 200);
}

TEST(HttpServer, SaysWhyItCannotListen) {
  EXPECT_EQ(HttpServer::Start({.listen = "0.0.0.0:0"}).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(HttpServer::Start({.listen = "0.0.0.0:0", .insecure = true}).ok());
  EXPECT_EQ(HttpServer::Start({.listen = "nowhere"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(HttpServer::Start({.listen = "127.0.0.1:0", .identity = [] { return HttpIdentity{"a", "b"}; }})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(HttpServer, ForgetsClientsThatGoWhileTheirHandlerWorks) {
  absl::Mutex mutex;
  int begun = 0, may_end = 0;
  const auto server = Serve();
  server->Handle("/slow", [&](const HttpRequest&) {
    absl::MutexLock lock(&mutex);
    const int mine = ++begun;
    const auto is_allowed = [&] { return may_end >= mine; };
    mutex.Await(absl::Condition(&is_allowed));
    return HttpResponse{.body = "late"};
  });
  server->Handle("/fast", Say("fast"));
  for (int i = 1; i <= 200; ++i) {  // more than there may be connections
    const int fd = ConnectTo(server->port());
    const std::string request = "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
    ASSERT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    {
      absl::MutexLock lock(&mutex);
      const auto has_begun = [&] { return begun >= i; };
      mutex.Await(absl::Condition(&has_begun));
    }
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);  // resets
    absl::MutexLock lock(&mutex);
    may_end = i;
  }
  EXPECT_EQ(Get(Url(*server, "/fast")).body, "fast");
}

TEST(HttpServer, ServesOthersWhileAHandlerWorksAndClientsDawdle) {
  const auto server = Serve();
  absl::Notification has_begun, may_end;
  server->Handle("/slow", [&](const HttpRequest&) {
    has_begun.Notify();
    may_end.WaitForNotification();
    return HttpResponse{.body = "late"};
  });
  server->Handle("/fast", Say("fast"));
  std::string late;
  std::thread slow([&] { late = Get(Url(*server, "/slow")).body; });
  has_begun.WaitForNotification();
  EXPECT_EQ(Get(Url(*server, "/fast")).body, "fast");
  may_end.Notify();
  slow.join();
  EXPECT_EQ(late, "late");
}

}  // namespace
}  // namespace flowawr
