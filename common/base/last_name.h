// What a file or folder is called, whatever leads to it. Pure.
#pragma once

#include <string>

namespace flowawr {

// "b" of "a/b", "a/b/" and "a/b/.".
std::string LastName(const std::string& path);

}  // namespace flowawr
