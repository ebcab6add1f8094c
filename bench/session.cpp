// Timing, peaks, rows.
#include "bench/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "kernels/linear.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"
#include "runtime/hardware.h"
#include "runtime/random.h"

namespace subspect::bench {
namespace {

using runtime::DType;
using runtime::Tensor;

/// Seconds since some moment: of the wall clock, or of the processor for this program.
double now(bool processor_time) {
  if (processor_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Of ascending values, between neighbours where it lies between them.
double quantile(const std::vector<double>& values, double part) {
  const double at = part * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

/// Of what the row declares.
std::string rates(const Row& row) {
  std::string text;
  const auto add = [&](double amount, const char* unit, double percent, const char* peak) {
    if (amount > 0) text += fmt::format("  {:.1f} {}", amount / row.median_seconds, unit);
    if (percent > 0) text += fmt::format(" ({:.0f} % of {})", percent, peak);
  };
  add(row.bytes / 1e9, "GB/s", row.copy_percent, "copy");
  add(row.flops / 1e9, "GFLOP/s", row.gemm_percent, "GEMM");
  add(row.tokens, "tokens/s", row.peak_percent, "the GPU's stated peak");
  return text;
}

/// The first element of x W^T for x [rows, size] and W [size, size].
double first_product(runtime::Stream& stream, const Tensor& x, const Tensor& w) {
  const auto a = x.narrow(0, 0, 1).to_host<float>(stream);
  const auto b = w.narrow(0, 0, 1).to_host<float>(stream);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace

Session::Session(std::string bench, Arguments& arguments) : bench_(std::move(bench)) {
  const auto device = runtime::Device::parse(arguments.text("device", "cpu"));
  stream_ = runtime::Stream::open(device, static_cast<int>(arguments.number("threads", 0)));
  quick_ = arguments.flag("quick");
  filter_ = arguments.text("filter", "");
  seconds_ = quick_ ? 0.0 : arguments.real("seconds", 1);
  origin_ = origin_of(*stream_);
  processor_time_ = arguments.flag("processor-time");
  if (processor_time_ && (on_gpu() || stream_->threads() != 1)) {
    throw runtime::UsageError("the processor's time is that of one thread", "--processor-time", "add --threads=1");
  }
  if (processor_time_) origin_.device += ", processor time";
  if (on_gpu()) stated_flops_ = runtime::hardware_of(device).bfloat16_flops;
  if (const std::string path = arguments.text("csv", ""); !path.empty()) file_.emplace(path);
}

Session::~Session() = default;

const Peaks& Session::peaks(DType dtype) {
  const auto found = peaks_.find(dtype);
  return found != peaks_.end() ? found->second : peaks_.emplace(dtype, measure_peaks(dtype)).first->second;
}

double Session::seconds_of(const std::function<void()>& run, int64_t calls) const {
  const double begin = now(processor_time_);
  for (int64_t i = 0; i < calls; ++i) run();
  stream_->synchronize();
  return now(processor_time_) - begin;
}

/// Calls of a run too short for the clock, or for the launch of one kernel, are timed together.
Session::Timing Session::time(const std::function<void()>& run) const {
  constexpr double shortest_sample = 5e-3;
  constexpr size_t most_samples = 101;
  const size_t least_samples = quick_ ? 3 : 7;
  const double once = std::max(1e-7, seconds_of(run, 1));
  const int64_t calls = quick_ ? 1 : std::max<int64_t>(1, std::llround(std::ceil(shortest_sample / once)));
  std::vector<double> samples;
  double total = 0;
  while (samples.size() < least_samples || (total < seconds_ && samples.size() < most_samples)) {
    const double sample = seconds_of(run, calls);
    total += sample;
    samples.push_back(sample / static_cast<double>(calls));
  }
  std::sort(samples.begin(), samples.end());
  const double median = quantile(samples, 0.5);
  return {static_cast<int64_t>(samples.size()) * calls, median,
          100 * (quantile(samples, 0.75) - quantile(samples, 0.25)) / median};
}

void Session::write(Row row, const Timing& timing) {
  row.bench = bench_;
  row.runs = timing.runs;
  row.median_seconds = timing.median;
  row.spread_percent = timing.spread_percent;
  names_.insert(row.name);
  if (file_) file_->append(to_csv(origin_, row));
  std::puts(fmt::format("{:<26} {:<9} {:<62} {:>11.4f} ms +-{:>4.1f} %{}", row.name, name(row.dtype), row.shape,
                        1e3 * timing.median, timing.spread_percent, rates(row))
                .c_str());
  std::fflush(stdout);
}

Peaks Session::measure_peaks(DType dtype) {
  Peaks peaks;
  const int64_t size = quick_ ? 128 : on_gpu() ? 8192 : 1024;
  const int64_t count = quick_ ? 1 << 16 : on_gpu() ? int64_t{1} << 29 : 1 << 25;
  const Tensor x = Tensor::empty(*stream_, {count}, dtype);
  const Tensor copied = Tensor::empty(*stream_, {count}, dtype);
  runtime::fill_normal(*stream_, x, 1.0, runtime::Philox(1));
  const Timing copy = time([&] { stream_->copy(copied.raw(), x.raw(), x.bytes()); });
  const double bytes = 2.0 * static_cast<double>(x.bytes());
  peaks.copy_bytes = bytes / copy.median;
  write({.name = "copy_peak", .dtype = dtype, .shape = fmt::format("cols={}", count), .bytes = bytes}, copy);

  const Tensor a = Tensor::empty(*stream_, {size, size}, dtype);
  const Tensor b = Tensor::empty(*stream_, {size, size}, dtype);
  const Tensor c = Tensor::empty(*stream_, {size, size}, dtype);
  runtime::fill_normal(*stream_, a, 1.0, runtime::Philox(2));
  runtime::fill_normal(*stream_, b, 1.0, runtime::Philox(3));
  // Which of the two is faster depends on the library.
  const Timing untransposed = time([&] {
    runtime::dispatch(*stream_, dtype, "gemm", [&]<class D, class T>(kernels::Context<D> context) {
      kernels::linear_backward_input<D, T>(
          context,
          {.dy = a.data<T>(), .weight = b.data<T>(), .dx = c.data<T>(), .rows = size, .in = size, .out = size});
    });
  });
  const Timing transposed = time([&] {
    runtime::dispatch(*stream_, dtype, "gemm", [&]<class D, class T>(kernels::Context<D> context) {
      kernels::linear_forward<D, T, T>(
          context, {.x = a.data<T>(), .weight = b.data<T>(), .y = c.data<T>(), .rows = size, .in = size, .out = size});
    });
  });
  const Timing& gemm = transposed.median < untransposed.median ? transposed : untransposed;
  const double expected = first_product(*stream_, a, b);
  const double actual = c.narrow(0, 0, 1).to_host<float>(*stream_)[0];
  runtime::require(std::abs(actual - expected) <= 1e-2 * (1 + std::abs(expected)), "gemm_peak",
                   "the first element must be {}. Received {}.", expected, actual);
  const double flops = 2.0 * std::pow(static_cast<double>(size), 3);
  peaks.gemm_flops = flops / gemm.median;
  write({.name = "gemm_peak",
         .dtype = dtype,
         .shape = fmt::format("rows={0} cols={0} out={0}", size),
         .flops = flops,
         .peak_percent = dtype == DType::bfloat16 && stated_flops_ > 0 ? 100 * peaks.gemm_flops / stated_flops_ : 0},
        gemm);
  return peaks;
}

void Session::measure(Row row, const std::function<void()>& run, const std::function<bool()>& correct) {
  const Peaks& peak = peaks(row.dtype);
  run();
  if (!correct()) {
    std::fputs(fmt::format("{} {} {}: wrong result\n", row.name, name(row.dtype), row.shape).c_str(), stderr);
    wrong_ = true;
    return;
  }
  const Timing timing = time(run);
  row.copy_percent = 100 * row.bytes / timing.median / peak.copy_bytes;
  row.gemm_percent = 100 * row.flops / timing.median / peak.gemm_flops;
  if (row.dtype == DType::bfloat16 && stated_flops_ > 0) {
    row.peak_percent = 100 * row.flops / timing.median / stated_flops_;
  }
  write(std::move(row), timing);
}

}  // namespace subspect::bench
