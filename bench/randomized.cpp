// The randomized decomposition against the Gram one: error and time by rank and iterations, on a spectrum that decays
// slowly and on Gaussian noise. Times are of the processor, on one thread. Writes a row for each measurement;
// `--plot=FILE.svg` draws the rows instead.
//
//     bench_randomized --size=1024 --csv=bench/results/randomized_svd.csv
//     bench_randomized --csv=bench/results/randomized_svd.csv --plot=docs/images/randomized_svd.svg
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <map>
#include <utility>

#include "bench/arguments.h"
#include "bench/rows.h"
#include "experiments/report/csv_table.h"
#include "experiments/report/plot.h"
#include "runtime/linalg/left_basis.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace {

using subspect::runtime::DType;
using subspect::runtime::Philox;
using subspect::runtime::Stream;
using subspect::runtime::Tensor;
namespace linalg = subspect::runtime::linalg;
namespace report = subspect::experiments::report;

constexpr std::string_view usage =
    "bench_randomized: the randomized decomposition against the Gram one.\n\n"
    "  --size=N           rows and columns of the matrix; 1024 unless given\n"
    "  --csv=FILE         the rows, written or drawn\n"
    "  --plot=FILE.svg    draws the rows instead\n";

constexpr const char* header =
    "device,date,version,commit,rows,cols,spectrum,method,rank,iterations,cpu_seconds,residual,energy_error,"
    "projection_error\n";
constexpr double shares[] = {0.01, 0.02, 0.05, 0.10};
constexpr int64_t iterations[] = {0, 1, 2, 3, 4, 6, 8, 12, 16};

/// U diag(i^-1/2) W^T with random U and W, or Gaussian entries.
Tensor matrix_of(Stream& stream, int64_t size, const std::string& spectrum) {
  Tensor v = Tensor::zeros(stream, {size, size}, DType::float32);
  if (spectrum == "gaussian") {
    fill_normal(stream, v, 1e-3, Philox(1));
    return v;
  }
  const Tensor left = linalg::random_basis(stream, size, size, Philox(1)).vectors;
  const Tensor right = linalg::random_basis(stream, size, size, Philox(2)).vectors;
  std::vector<double> sigma(static_cast<size_t>(size));
  for (size_t i = 0; i < sigma.size(); ++i) sigma[i] = 1e-3 / std::sqrt(static_cast<double>(i + 1));
  const Tensor scaled = Tensor::empty(stream, {size, size}, DType::float32);
  linalg::copy_rows(stream, linalg::matrix_of<float>(right), linalg::matrix_of<float>(scaled), {{}, sigma, 1.0});
  linalg::add_projection(stream, left, scaled, 1.0, v);
  return v;
}

struct Measurement {
  double seconds = 0;  ///< of the processor
  linalg::LeftBasis basis;
};

Measurement measure(Stream& stream, const Tensor& v, const linalg::BasisOptions& options) {
  Measurement result;
  const std::clock_t begin = std::clock();
  result.basis = linalg::LeftBasis::compute(stream, v, "v", options);
  result.seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  return result;
}

/// P_k D.
Tensor projection(Stream& stream, const linalg::LeftBasis& basis, int64_t k, const Tensor& d) {
  const Tensor u = basis.vectors(stream, k);
  Tensor p = Tensor::zeros(stream, d.shape(), DType::float32);
  linalg::add_projection(stream, u, linalg::project_onto(stream, u, d).values, 1.0, p);
  return p;
}

double energy_of(const linalg::LeftBasis& basis, int64_t k) {
  double sum = 0.0;
  for (int64_t i = 0; i < k; ++i) sum += std::pow(basis.singular_values()[static_cast<size_t>(i)], 2);
  return sum;
}

/// The part of a row before the matrix.
std::string origin_of(const Stream& stream) {
  const subspect::bench::Origin origin = subspect::bench::origin_of(stream);
  return fmt::format("\"{}\",{},{},{}", origin.device, origin.date, origin.version, origin.commit);
}

void run(Stream& stream, int64_t size, const std::string& path) {
  std::ofstream csv(path);
  csv << header;
  const std::string origin = origin_of(stream);
  const Tensor d = Tensor::empty(stream, {size, size}, DType::float32);
  fill_normal(stream, d, 1.0, Philox(3));
  for (const std::string spectrum : {"power", "gaussian"}) {
    const Tensor v = matrix_of(stream, size, spectrum);
    const auto line = [&](const char* method, int64_t rank, int64_t steps, const Measurement& m, double energy_error,
                          double projection_error) {
      csv << fmt::format("{},{},{},{},{},{},{},{:.4f},{:.3e},{:.3e},{:.3e}\n", origin, size, size, spectrum, method,
                         rank, steps, m.seconds, m.basis.residual(), energy_error, projection_error)
          << std::flush;
    };
    const Measurement truth = measure(stream, v, {.method = linalg::BasisMethod::gram});
    for (const double share : shares) {
      const auto k = static_cast<int64_t>(share * static_cast<double>(size));
      const Tensor exact = projection(stream, truth.basis, k, d);
      const double energy = energy_of(truth.basis, k);
      line("gram", k, 0, truth, 0.0, 0.0);
      for (const int64_t steps : iterations) {
        const Measurement m =
            measure(stream, v,
                    {.method = linalg::BasisMethod::randomized, .rank = k, .tolerance = 0.0, .max_iterations = steps});
        const Tensor difference = projection(stream, m.basis, k, d);
        linalg::add_scaled(stream, exact, -1.0, difference);
        line("randomized", k, steps, m, 1.0 - energy_of(m.basis, k) / energy,
             std::sqrt(linalg::squared_norm(stream, difference) / linalg::squared_norm(stream, exact)));
      }
    }
  }
}

/// The error of P_k D over time, a line of iterations for each rank and spectrum.
void draw(const std::string& path, const std::string& file) {
  const auto table = report::CsvTable::read(path);
  report::Plot plot;
  plot.name = "randomized_svd";
  plot.title = "Block Krylov iteration: error and time by rank and iterations";
  plot.description =
      "Relative error of the projection of a Gaussian matrix over time, for four ranks and two spectra; each line "
      "falls "
      "from left to right as iterations are added.";
  plot.x.title = "time, as a share of the Gram method's";
  plot.x.scale = report::Scale::log;
  plot.y.title = "residual, relative to each squared singular value";
  plot.y.scale = report::Scale::log;
  std::map<std::string, size_t> known;
  double gram_seconds = 1.0;
  for (int64_t row = 0; row < table.rows(); ++row) {
    const double seconds = table.number(row, "cpu_seconds");
    if (table.text(row, "method") == "gram") {
      gram_seconds = seconds;
      continue;
    }
    const bool noise = table.text(row, "spectrum") == "gaussian";
    const double share = 100.0 * table.number(row, "rank") / table.number(row, "rows");
    const std::string label = fmt::format("{:.0f} % of the vectors{}", share, noise ? ", Gaussian" : "");
    const auto [found, added] = known.emplace(label, plot.series.size());
    if (added) {
      report::Series series;
      series.label = label;
      series.style.colour = static_cast<int>(known.size() - 1) % 4;
      series.style.dash = noise ? report::Dash::dashed : report::Dash::solid;
      series.style.marker = report::Marker::circle;
      series.style.hollow = noise;
      plot.series.push_back(std::move(series));
    }
    report::Point point;
    point.x = seconds / gram_seconds;
    point.y = table.number(row, "residual");
    point.tooltip =
        fmt::format("{} iterations: error of the projection {}, of the energy {}", table.text(row, "iterations"),
                    table.text(row, "projection_error"), table.text(row, "energy_error"));
    plot.series[found->second].points.push_back(std::move(point));
  }
  plot.guides = {{linalg::default_tolerance, "default tolerance"}};
  std::ofstream(file) << report::standalone_svg(plot);
}

}  // namespace

int main(int argc, char** argv) {
  const auto body = [](subspect::bench::Arguments& arguments) {
    const int64_t size = arguments.number("size", 1024);
    const std::string csv = arguments.text("csv", "randomized_svd.csv");
    const std::string plot = arguments.text("plot", "");
    arguments.finish();
    if (plot.empty()) {
      run(*Stream::open({}, 1), size, csv);
    } else {
      draw(csv, plot);
    }
    return 0;
  };
  return subspect::bench::run_program("bench_randomized", usage, argc, argv, body);
}
