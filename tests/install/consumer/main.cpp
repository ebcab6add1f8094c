// Uses the installed package: makes a tensor and reads it back.
#include <cstdio>
#include <vector>

#include "runtime/tensor.h"

int main() {
  using namespace subspect::runtime;  // NOLINT(google-build-using-namespace): one short program
  const auto stream = Stream::open(Device{}, 1);
  const std::vector<float> values{1.0F, 2.0F, 3.0F};
  const Tensor tensor = Tensor::from_host<float>(*stream, values, {3});
  const bool same = tensor.to_host<float>(*stream) == values;
  std::puts(same ? "installed package works" : "installed package gives other values");
  return same ? 0 : 1;
}
