// What this program was built from: recorded in every run directory, shown by --version and doctor.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace subspect::experiments {

std::string version();   ///< "0.1.0"
std::string git_hash();  ///< the commit, with "-dirty" when files differed from it; "unknown" outside a repository
std::string compiler();  ///< "GCC 12.2.0"
/// Names and versions of the libraries that the program was built with.
std::vector<std::pair<std::string, std::string>> libraries();
/// The machine's processor and number of cores that this process may use: "AMD EPYC 7B13, 2 cores".
std::string processor();

}  // namespace subspect::experiments
