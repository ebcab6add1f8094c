// What the fuzz targets share. A target is one file that defines `fuzz_one`: it does with hostile bytes what the
// program does with a user's file, and then uses all that was read. An Error is the right answer to bad input; any
// other exception, a report of a sanitizer, a violated FUZZ_CHECK or a run of more than seconds is a defect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace subspect::fuzz {

/// Defined by each target.
void fuzz_one(std::string_view input);

/// Writes `bytes` to a file of this process, in memory where the system has /dev/shm; the next call with the same name
/// replaces it. For readers that take paths.
std::filesystem::path input_file(const std::string& name, std::string_view bytes);

/// Ends the program when a property does not hold, so that the fuzzer keeps the input.
void check(bool holds, const char* property, const char* file, int line);

}  // namespace subspect::fuzz

#define FUZZ_CHECK(property) ::subspect::fuzz::check((property), #property, __FILE__, __LINE__)
