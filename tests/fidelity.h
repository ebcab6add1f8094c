// Comparisons with software that is not this program. Each has a name, which docs/fidelity.md lists with its tolerance
// and the worst error that was measured: tools/fidelity.py runs the tests and collects what is recorded here.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace subspect::tests {

/// Expects error <= tolerance, and records both under the comparison's name in the file $SUBSPECT_FIDELITY, if it is
/// set. `where` says which of many values it is.
inline void expect_within(const std::string& comparison, double error, double tolerance, const std::string& where) {
  EXPECT_LE(error, tolerance) << comparison << ": " << where;
  if (const char* file = std::getenv("SUBSPECT_FIDELITY")) {
    std::ofstream(file, std::ios::app) << comparison << '\t' << tolerance << '\t' << error << '\n';
  }
}

}  // namespace subspect::tests
