// What a browser gets from a page, by libcurl, which knows nothing of our server.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace flowawr {

struct HttpAnswer {
  long code = 0;  // 0: no answer
  std::string body;
};

// GET http://`endpoint``path`, the path as it is given.
inline HttpAnswer HttpGet(const std::string& endpoint, const std::string& path) {
  HttpAnswer answer;
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  curl_easy_setopt(curl.get(), CURLOPT_URL, absl::StrCat("http://", endpoint, path).c_str());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, +[](char* bytes, size_t size, size_t count, void* text) {
    static_cast<std::string*>(text)->append(bytes, size * count);
    return size * count;
  });
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 60L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_PATH_AS_IS, 1L);
  if (curl_easy_perform(curl.get()) == CURLE_OK) curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.code);
  return answer;
}

}  // namespace flowawr
