// What options take beside text, for CLI11: its own checks let NaN through every range, read 010 as octal, and turn -1
// into 2^64 - 1. A value that is refused is a mistake of the command line; the message tells what is accepted, as does
// --help.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace flowawr {

// A whole number in decimal digits. For CLI::Option::transform(), which hands it on without leading zeros and signs.
CLI::Validator WholeNumber(int64_t least, uint64_t most);

// A finite number. For CLI::Option::check().
CLI::Validator Number(double least, double most);

// HOST:PORT. For CLI::Option::check(). Port 0, any free one, is for those who listen.
CLI::Validator AddressToListenOn();
CLI::Validator AddressToReach();

}  // namespace flowawr
