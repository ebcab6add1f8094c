// What a run's scores support, as tables: scores with their intervals, how many differences stand, and how large a
// difference the prompts could have shown.
#pragma once

#include <string>

#include "experiments/report/run_files.h"

namespace subspect::experiments::report {

/// HTML of those tables for a run that compares models; empty where the run has no comparisons.csv.
std::string support_html(const RunFiles& run);

}  // namespace subspect::experiments::report
