// report.html: what a run found, in sentences, plots and tables, made from the tables of its directory alone.
#pragma once

#include <filesystem>

namespace subspect::experiments::report {

/// Writes `run_dir`/report.html (one self-contained page) and `run_dir`/plots/*.svg (each plot on its own; files of an
/// earlier report that are no longer made are removed). Works for every kind of run, finished or not, and for studies,
/// whose stages are read from `run_dir`/stages. The same tables give the same bytes.
/// @throws runtime::Error if the directory does not exist, a file in it is malformed, or nothing can be written.
void write_report(const std::filesystem::path& run_dir);

}  // namespace subspect::experiments::report

namespace subspect::experiments {
using report::write_report;
}
